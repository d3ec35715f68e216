//! Serves the embedded services alone, for trying an SDK against them:
//! `cargo run -p services --example emulate -- DATA_DIRECTORY PORT`.

use services::{AllowedHosts, Enforce, Services, ServicesConfig, server};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("the first argument is the data directory")?;
    let port: u16 = arguments.next().ok_or("the second argument is the port")?.parse()?;
    let mut config = ServicesConfig::new(directory);
    config.enforce = Enforce::On;
    let services = Services::open(config)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    services.set_endpoint(&format!("http://127.0.0.1:{port}"));
    let stop = async {
        // Without a signal handler the process just ends, which is an ordinary way to stop.
        let _ = tokio::signal::ctrl_c().await;
    };
    let handler = {
        let services = services.clone();
        move |request, _peer| {
            let services = services.clone();
            async move { services.handle(request).await }
        }
    };
    server::serve(listener, server::plain(), AllowedHosts::loopback(), handler, stop).await;
    services.shutdown().await;
    Ok(())
}
