//! A mail to an SMTP server, in plain text: EHLO, MAIL, RCPT, DATA, QUIT. No TLS and no login; it is meant for a relay
//! of the same machine or network, such as the catch-all servers that developers run.

use crate::configuration::Smtp;
use crate::delivery::Outcome;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const SESSION_WAIT: Duration = Duration::from_secs(30);
const LINE_BYTES_MAX: u64 = 4096;
const REPLY_LINES_MAX: usize = 100;

pub(super) async fn send(smtp: &Smtp, to: &str, mail: &str) -> Outcome {
    match tokio::time::timeout(SESSION_WAIT, session(smtp, to, mail)).await {
        Ok(Ok(())) => Outcome::Delivered,
        // 5xx: the server will not take it, now or later.
        Ok(Err(Trouble::Reply(code, text))) if code >= 500 => Outcome::Refused(text),
        Ok(Err(Trouble::Reply(_, text))) => Outcome::Failed(text),
        Ok(Err(Trouble::Io(error))) => Outcome::Failed(error.to_string()),
        Err(_) => Outcome::Failed("the mail server did not answer in 30 seconds".to_owned()),
    }
}

enum Trouble {
    Reply(u16, String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

async fn session(smtp: &Smtp, to: &str, mail: &str) -> Result<(), Trouble> {
    let stream = TcpStream::connect((smtp.host.as_str(), smtp.port)).await?;
    let mut server = BufReader::new(stream);
    expect(&mut server, 220).await?;
    say(&mut server, "EHLO localhost", 250).await?;
    say(&mut server, &format!("MAIL FROM:<{}>", smtp.from), 250).await?;
    say(&mut server, &format!("RCPT TO:<{to}>"), 250).await?;
    say(&mut server, "DATA", 354).await?;
    say(&mut server, &format!("{}\r\n.", stuffed(mail)), 250).await?;
    // The mail is accepted; a rude goodbye changes nothing.
    let _ = say(&mut server, "QUIT", 221).await;
    Ok(())
}

/// A line that begins with a dot gets another one, so that none ends the data early.
fn stuffed(mail: &str) -> String {
    let lines =
        mail.lines().map(|line| if line.starts_with('.') { format!(".{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\r\n")
}

async fn say(server: &mut BufReader<TcpStream>, line: &str, expected: u16) -> Result<(), Trouble> {
    server.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
    expect(server, expected).await
}

async fn expect(server: &mut BufReader<TcpStream>, expected: u16) -> Result<(), Trouble> {
    for _ in 0..REPLY_LINES_MAX {
        let mut line = String::new();
        server.take(LINE_BYTES_MAX).read_line(&mut line).await?;
        let code: u16 = line.get(..3).and_then(|code| code.parse().ok()).unwrap_or_default();
        if line.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        if code == expected {
            return Ok(());
        }
        return Err(Trouble::Reply(code, line.trim().to_owned()));
    }
    Err(Trouble::Reply(0, "the mail server talks without end".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn serve(refuse: bool) -> (Smtp, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accept");
            let mut stream = BufReader::new(stream);
            let mut seen = Vec::new();
            let mut in_data = false;
            stream.get_mut().write_all(b"220 hello\r\n").await.expect("write");
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let said = line.trim_end().to_owned();
                let reply: &[u8] = match said.as_str() {
                    "." => b"250 ok\r\n",
                    "DATA" => b"354 go on\r\n",
                    "QUIT" => b"221 bye\r\n",
                    _ if in_data => b"",
                    said if said.starts_with("EHLO") => b"250-hi\r\n250 SIZE\r\n",
                    said if said.starts_with("RCPT") && refuse => b"550 no such mailbox\r\n",
                    _ => b"250 ok\r\n",
                };
                in_data = said == "DATA" || (in_data && said != ".");
                seen.push(said);
                stream.get_mut().write_all(reply).await.expect("write");
                line.clear();
            }
            seen
        });
        (Smtp { host: "127.0.0.1".to_owned(), port, from: "from@example.com".to_owned() }, server)
    }

    #[tokio::test]
    async fn a_mail_is_handed_over_with_its_dots_stuffed() {
        let (smtp, server) = serve(false).await;
        let outcome = send(&smtp, "to@example.com", "Subject: x\r\n\r\n.hidden\r\n").await;
        assert!(matches!(outcome, Outcome::Delivered), "{outcome:?}");
        let seen = server.await.expect("server");
        assert!(
            seen.contains(&"RCPT TO:<to@example.com>".to_owned()) && seen.contains(&"..hidden".to_owned()),
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn a_refused_recipient_is_not_tried_again() {
        let (smtp, _server) = serve(true).await;
        let outcome = send(&smtp, "to@example.com", "x").await;
        assert!(matches!(&outcome, Outcome::Refused(text) if text.starts_with("550")), "{outcome:?}");
    }
}
