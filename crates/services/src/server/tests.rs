use super::{BODY_BYTES_MAX, plain, serve};
use crate::guard::AllowedHosts;
use bytes::Bytes;
use http::{Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    /// A request for `/slow` was begun.
    begun: Arc<Notify>,
    /// Lets it end.
    release: Arc<Notify>,
}

/// A server that answers with the body it got.
async fn run() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (begun, release) = (begun.clone(), release.clone());
        move |request: Request<Bytes>, _peer| {
            let (begun, release) = (begun.clone(), release.clone());
            async move {
                if request.uri().path() == "/slow" {
                    begun.notify_one();
                    release.notified().await;
                }
                Response::new(request.into_body())
            }
        }
    };
    let stop_signal = async { stopped.await.unwrap_or(()) };
    let served = tokio::spawn(serve(listener, plain(), AllowedHosts::loopback(), handler, stop_signal));
    Running { address, stop, served, begun, release }
}

/// The status line and everything after it, until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    // The server may close hard after refusing a body it did not read.
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn requests_pass_the_guard_and_the_limit_or_are_refused() {
    let running = run().await;
    let request = |headers: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
    };
    let good = exchange(running.address, &request("Host: localhost:1\r\n", "hello")).await;
    assert!(good.starts_with("HTTP/1.1 200") && good.ends_with("hello"), "{good}");
    for headers in [
        "Host: evil.example\r\n",
        "",
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        let answer = exchange(running.address, &request(headers, "hello")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{headers}: {answer}");
    }
    let length = BODY_BYTES_MAX + 1;
    let large = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(running.address, &large).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_stopped_server_finishes_what_it_began_and_takes_nothing_new() {
    let Running { address, stop, served, begun, release } = run().await;
    let slow = "POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nlast";
    let answer = tokio::spawn(async move { exchange(address, slow).await });
    begun.notified().await;
    stop.send(()).unwrap();
    // Only a refused connection shows that the listener is gone.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    assert!(answer.await.unwrap().ends_with("last"));
    served.await.unwrap();
}
