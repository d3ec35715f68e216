//! Deliveries by mail: an `.eml` file in `<data directory>/outbox/`, or the configured SMTP server.
//!
//! A file is named after its delivery, so a second attempt after a crash writes the same file again. By SMTP a mail may
//! arrive twice after a crash, as with AWS.

use super::envelope::Published;
use super::row::Subscription;
use super::smtp;
use crate::delivery::Outcome;
use crate::environment::Environment;
use base64::Engine;
use serde_json::Value;
use std::io::Write;
use std::path::Path;

const FROM: &str = "no-reply@sns.amazonaws.com";
/// RFC 5322 allows 998 bytes a line; longer ones travel in base64.
const LINE_BYTES_MAX: usize = 900;

/// One address and nothing else that could become a header.
pub(super) fn is_address(text: &str) -> bool {
    let is_allowed =
        |letter: char| !letter.is_whitespace() && !letter.is_control() && !"<>,;:\"\\()[]".contains(letter);
    match text.split_once('@') {
        Some((local, domain)) => {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@') && text.chars().all(is_allowed)
        }
        None => false,
    }
}

pub(super) async fn deliver(
    environment: &Environment,
    delivery_id: i64,
    published: &Published,
    subscription: &Subscription,
    envelope: &Value,
) -> Outcome {
    let smtp = environment.config().smtp.clone();
    let from = smtp.as_ref().map_or(FROM, |smtp| smtp.from.as_str());
    let mail = compose(from, published, subscription, envelope);
    if let Some(smtp) = smtp {
        return smtp::send(&smtp, &subscription.endpoint, &mail).await;
    }
    let directory = environment.config().data_dir.join("outbox");
    let name = format!("{}-{delivery_id:08}.eml", published.at.replace([':', '.'], "-"));
    let written = tokio::task::spawn_blocking(move || write(&directory, &name, mail.as_bytes())).await;
    match written {
        Ok(Ok(())) => Outcome::Delivered,
        Ok(Err(error)) => Outcome::Failed(error.to_string()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn compose(from: &str, published: &Published, subscription: &Subscription, envelope: &Value) -> String {
    let body = if subscription.protocol == "email-json" {
        envelope.to_string()
    } else {
        let link = envelope["UnsubscribeURL"].as_str().unwrap_or("");
        format!("{}\n\n--\nTo stop receiving mail from this topic:\n{link}\n", published.text_for("email"))
    };
    let subject = header_text(published.subject.as_deref().unwrap_or("AWS Notification Message"));
    let date = published.at.parse::<jiff::Timestamp>().unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    let (encoding, body) = encoded(&body);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S +0000");
    [
        format!("From: AWS Notifications <{from}>"),
        format!("To: {}", subscription.endpoint),
        format!("Subject: {subject}"),
        format!("Date: {date}"),
        format!("Message-ID: <{}.{}@sns.local>", published.message_id, subscription.id),
        format!("X-Amz-Sns-Topic-Arn: {}", published.topic_arn),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=UTF-8".to_owned(),
        format!("Content-Transfer-Encoding: {encoding}"),
        String::new(),
        body,
    ]
    .join("\r\n")
}

fn encoded(body: &str) -> (&'static str, String) {
    let plain = body.lines().all(|line| line.len() <= LINE_BYTES_MAX) && !body.contains('\0');
    if plain {
        return ("8bit", body.lines().map(|line| format!("{line}\r\n")).collect());
    }
    let text = base64::engine::general_purpose::STANDARD.encode(body);
    let lines = text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line)));
    ("base64", lines.collect())
}

/// A header beyond ASCII is an encoded word (RFC 2047).
fn header_text(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    // An encoded word holds 75 characters at most; 30 bytes of text make 40 of base64.
    let mut words = Vec::new();
    let mut word = String::new();
    for letter in text.chars() {
        if word.len() + letter.len_utf8() > 30 {
            words.push(std::mem::take(&mut word));
        }
        word.push(letter);
    }
    words.push(word);
    let encode =
        |word: &String| format!("=?UTF-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(word));
    words.iter().map(encode).collect::<Vec<_>>().join("\r\n ")
}

/// The file appears whole or not at all, and stays after a power cut.
fn write(directory: &Path, name: &str, mail: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(mail)?;
    file.as_file().sync_all()?;
    file.persist(directory.join(name)).map_err(|error| error.error)?;
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_cannot_smuggle_headers() {
        for good in ["a@example.com", "first.last+tag@sub.example.com"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "a", "a@", "@b", "a@b\r\nBcc: c@d", "a b@c", "a@b@c", "<a@b>", "a@b,c@d"] {
            assert!(!is_address(bad), "{bad:?}");
        }
    }

    #[test]
    fn long_lines_and_foreign_subjects_are_encoded() {
        assert_eq!(encoded(&"x".repeat(2000)).0, "base64");
        assert_eq!(encoded("a\nb"), ("8bit", "a\r\nb\r\n".to_owned()));
        assert!(header_text("Pedido é").starts_with("=?UTF-8?B?"));
    }
}
