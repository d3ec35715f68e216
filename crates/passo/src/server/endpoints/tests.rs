//! Endpoints under their rules, against a listener of this process.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every connection with these bytes; the address is dialled as `127.0.0.1` or `localhost`.
async fn listening(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    port
}

async fn called(rules: Rules, own_port: u16, uri: &str) -> Result<Response<Bytes>, TransportError> {
    let endpoints = Endpoints::new(rules, own_port).expect("clients");
    endpoints.call(Request::get(uri).body(Bytes::new()).expect("a request")).await
}

fn refused(answer: Result<Response<Bytes>, TransportError>) -> String {
    match answer {
        Err(TransportError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn loopback() -> Rules {
    Rules { plain: Plain::Loopback, ..Rules::default() }
}

#[tokio::test]
async fn without_tls_this_machine_is_called_only_where_that_is_allowed() {
    let port = listening(
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec(),
    )
    .await;
    for host in ["127.0.0.1", "localhost"] {
        let uri = format!("http://{host}:{port}/x");
        assert!(refused(called(Rules::default(), 0, &uri).await).contains("HTTPS endpoints only"));
        let answer = called(loopback(), 0, &uri).await.expect("an answer");
        assert_eq!(answer.status(), 302, "redirects are answers");
        assert!(refused(called(loopback(), port, &uri).await).contains("own services"));
        let deny = Rules {
            deny: vec!["127.0.0.0/8".parse().expect("a network"), "::1".parse().expect("one")],
            ..loopback()
        };
        assert!(refused(called(deny, 0, &uri).await).contains("http.deny names it"));
    }
    assert!(refused(called(loopback(), 0, "http://10.9.8.7/").await).contains("only HTTPS"));
    for (port, uri) in [(port, format!("https://localhost:{port}/")), (443, "https://127.0.0.1/".into())] {
        assert!(refused(called(loopback(), port, &uri).await).contains("own services"), "{uri}");
    }
}

#[tokio::test]
async fn a_metadata_service_is_not_asked() {
    for uri in
        ["https://169.254.169.254/latest", "https://[fd00:ec2::254]/", "https://[::ffff:169.254.169.254]/"]
    {
        assert!(refused(called(Rules::default(), 0, uri).await).contains("may not be called"), "{uri}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_BYTES_MAX + 1).into_bytes();
    answer.resize(answer.len() + ANSWER_BYTES_MAX + 1, b'x');
    let port = listening(answer).await;
    let answer = called(loopback(), 0, &format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(answer, Err(TransportError::TooLarge(_))), "{answer:?}");
}

#[tokio::test]
async fn nobody_who_answers_is_a_broken_connection() {
    let free =
        TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let answer = called(loopback(), 0, &format!("http://127.0.0.1:{free}/")).await;
    assert!(matches!(answer, Err(TransportError::Connection(_))), "{answer:?}");
}
