//! Posts events to a URL, each as a signed note: the event as JSON and the time, then the signature.
//!
//! The body is a C2SP signed note (Ed25519), so that any verifier of notes checks it, and the time in it tells a replay.
//! A receiver that does not answer with a status of 200 to 299 is asked again, five times in about a minute; then the
//! event is given up. At most 1,024 events wait; who falls further behind misses some.

use std::sync::Arc;
use std::time::Duration;

use quorix_tlog::note::{SignedNote, SigningKey};
use quorix_wire::fetch::Fetcher;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::events::{Event, EventKind};
use crate::metrics::Metrics;

/// First line of every body.
const HEADER: &str = "quorix event v1";
/// How often one event is tried.
const ATTEMPTS: u32 = 6;
/// Wait before the second attempt; doubled each time.
const WAIT: Duration = Duration::from_secs(2);
/// Bytes of a receiver's answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Where events are posted to, and what signs them.
#[derive(Debug)]
pub struct Webhook {
    /// `https://…` or `http://…`.
    pub url: String,
    /// The key; receivers know its verifier.
    pub key: SigningKey,
}

/// Posts every event until there are no more.
pub(crate) async fn run(
    hook: Webhook,
    fetcher: Fetcher,
    mut events: Receiver<Event>,
    metrics: Metrics,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(missed)) => {
                metrics.missed(missed);
                tracing::warn!(missed, url = hook.url, "events were not posted");
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let result = deliver(&hook, &fetcher, &event, WAIT, &clock).await;
        metrics.posted(if result.is_ok() { "posted" } else { "given_up" });
        if let Err(reason) = result {
            tracing::warn!(url = hook.url, reason, "an event was given up");
        }
    }
}

/// Posts one event, several times if need be.
pub(crate) async fn deliver(
    hook: &Webhook,
    fetcher: &Fetcher,
    event: &Event,
    wait: Duration,
    clock: &Arc<dyn Fn() -> u64 + Send + Sync>,
) -> Result<(), String> {
    let mut reason = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(1);
            tokio::time::sleep(wait.saturating_mul(factor)).await;
        }
        let body = body(&hook.key, event, clock())?;
        match fetcher.post(&hook.url, body, ANSWER_BYTES_MAX).await {
            Ok((status, _)) if (200..300).contains(&status) => return Ok(()),
            Ok((status, _)) => reason = format!("the receiver answered with status {status}"),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

/// The signed note of an event that is sent at `sent_s`.
fn body(key: &SigningKey, event: &Event, sent_s: u64) -> Result<Vec<u8>, String> {
    let text = format!(
        "{HEADER}\nsent {sent_s}\n{{\"at_s\":{},\"kind\":\"{}\",\"subject\":{},\"message\":{}}}\n",
        event.at_s,
        word(event.kind),
        json_text(&event.subject),
        json_text(&event.message),
    );
    SignedNote::sign(&text, &[key])
        .map(|note| note.to_bytes())
        .map_err(|error| error.to_string())
}

/// What an event's kind is called.
pub(crate) const fn word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Disagreement => "disagreement",
        EventKind::Resolved => "resolved",
        EventKind::LogStale => "log_stale",
        EventKind::LogLive => "log_live",
        EventKind::LogQuarantined => "log_quarantined",
        EventKind::Revoked => "revoked",
    }
}

/// A JSON string in ASCII.
fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            ' '..='~' => json.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::events::{Events, WATCHER_BACKLOG};
    use crate::tests::world::fetcher;

    #[test]
    fn a_body_is_a_note_that_its_verifier_opens_and_no_other() {
        let key = SigningKey::from_seed("events.example".parse().unwrap(), [7; 32]);
        let event = Event {
            at_s: 5,
            kind: EventKind::LogQuarantined,
            subject: "alice".to_owned(),
            message: "alice \"lied\"\nund sägte \u{1f600}.".to_owned(),
        };
        let bytes = body(&key, &event, 9).unwrap();
        let note = SignedNote::parse(&bytes).unwrap();
        assert_eq!(note.verify(&[key.verifier()]), Ok(()));
        let other = SigningKey::from_seed("events.example".parse().unwrap(), [8; 32]);
        assert!(note.verify(&[other.verifier()]).is_err());
        assert_eq!(
            note.text(),
            "quorix event v1\nsent 9\n{\"at_s\":5,\"kind\":\"log_quarantined\",\"subject\":\"alice\",\
             \"message\":\"alice \\\"lied\\\"\\u000aund s\\u00e4gte \\ud83d\\ude00.\"}\n"
        );
    }

    #[tokio::test]
    async fn events_that_a_slow_receiver_missed_are_counted() {
        let received = axum::routing::post(|| async { "thanks" });
        let router = axum::Router::new().route("/", received);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = Webhook {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            key: SigningKey::from_seed("events.example".parse().unwrap(), [7; 32]),
        };
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let (events, mut registry) = (Events::new(), Registry::default());
        let (watcher, metrics) = (events.watch(), Metrics::register(&mut registry));
        for at_s in 0..u64::try_from(WATCHER_BACKLOG).unwrap() + 6 {
            events.tell(Event {
                at_s,
                kind: EventKind::LogLive,
                subject: "alice".to_owned(),
                message: "alice is live.".to_owned(),
            });
        }
        drop(events);
        run(hook, fetcher(), watcher, metrics, Arc::new(|| 7)).await;
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "webhook_events_total{result=\"missed\"} 6\n",
            "webhook_events_total{result=\"posted\"} 1024\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
