//! Events as an Atom feed (RFC 4287), for feed readers. All text from outside is bounded and escaped; the feed has no
//! markup of others and leads nowhere but to this dashboard.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use quorix_wire::pb;

use crate::format::segment;
use crate::format::shown::Shown;
use crate::format::time::When;

/// Entries of the feed.
const ENTRIES_MAX: usize = 100;

/// The feed of these events, the newest first, seen at `now_s`.
#[must_use]
pub fn atom(events: &[pb::Event], now_s: u64) -> String {
    let updated = events.first().map_or(now_s, |event| event.at_s);
    let mut feed = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n\
         <title>Quorix</title>\n<id>urn:quorix:events</id>\n<updated>{}</updated>\n\
         <author><name>Quorix aggregator</name></author>\n<link rel=\"self\" href=\"/events.atom\"/>\n",
        datetime(updated)
    );
    let mut told = BTreeSet::new();
    for event in events.iter().take(ENTRIES_MAX) {
        let (word, href) = about(event);
        let id = format!(
            "urn:quorix:event:{}:{}:{}",
            event.at_s,
            word.replace(' ', "-"),
            segment(&event.subject)
        );
        // No two entries of a feed may have one id; what happened twice in a second is told once.
        if !told.insert(id.clone()) {
            continue;
        }
        // Writing to a string does not fail.
        let _ = write!(
            feed,
            "<entry>\n<title>{word}: {}</title>\n<id>{id}</id>\n<updated>{}</updated>\n\
             <link href=\"{}\"/>\n<summary>{}</summary>\n</entry>\n",
            escaped(Shown::line(&event.subject).as_str()),
            datetime(event.at_s),
            escaped(&href),
            escaped(Shown::line(&event.message).as_str()),
        );
    }
    feed.push_str("</feed>\n");
    feed
}

fn about(event: &pb::Event) -> (&'static str, String) {
    let base = event.subject.rsplit('/').next().unwrap_or_default();
    let output = || format!("/output/{}", segment(base));
    let log = || format!("/logs/{}", segment(&event.subject));
    match event.kind() {
        pb::EventKind::Disagreement => ("disagreement", output()),
        pb::EventKind::Resolved => ("resolved", output()),
        pb::EventKind::LogStale => ("log stale", log()),
        pb::EventKind::LogLive => ("log live", log()),
        pb::EventKind::LogQuarantined => ("log quarantined", log()),
        pb::EventKind::Revoked => ("revoked", log()),
        pb::EventKind::Unspecified => ("event", "/".to_owned()),
    }
}

fn datetime(at_s: u64) -> String {
    When::new(at_s.max(1), at_s).map_or_else(String::new, |when| when.datetime)
}

fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML 1.0 has no way to write these.
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => {
                safe.push('\u{fffd}');
            }
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_escaped_and_an_entry_leads_to_its_page() {
        let event = pb::Event {
            at_s: 1_795_357_409,
            kind: pb::EventKind::LogQuarantined.into(),
            subject: "a<b>&\"'\u{7}".to_owned(),
            message: "</summary><script>".to_owned(),
        };
        let feed = atom(&[event], 5);
        assert!(
            feed.contains("<title>log quarantined: a&lt;b&gt;&amp;&quot;&#39;"),
            "{feed}"
        );
        assert!(feed.contains("<summary>&lt;/summary&gt;&lt;script&gt;</summary>"));
        assert!(
            feed.contains("<link href=\"/logs/a%3Cb%3E%26%22%27%07\"/>"),
            "{feed}"
        );
        assert!(!feed.contains('\u{7}'));
    }

    #[test]
    fn a_feed_without_events_is_dated_now() {
        let feed = atom(&[], 1_795_357_409);
        assert!(
            feed.contains("<updated>2026-11-22T14:23:29Z</updated>"),
            "{feed}"
        );
        assert!(!feed.contains("<entry>"));
    }
}
