//! Events reach who wants to hear of them: a webhook whose receiver checks the signature and is down at first, and a feed
//! that feed readers understand.

use quorix_testkit::entries::{a_path, an_attestation, log_key};
use quorix_tlog::note::SignedNote;
use quorix_wire::pb::LogState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::following::{FolderLog, becomes, machine, policy};
use crate::world::{run, text};

/// One request: its head and its body.
async fn request(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 4096];
        let length = connection.read(&mut some).await.ok()?;
        if length == 0 {
            return None;
        }
        bytes.extend_from_slice(&some[..length]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().trim().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            return Some((head, bytes[end + 4..].to_vec()));
        }
    }
}

/// Takes what is posted; the first request is answered with 503.
async fn receiver() -> (String, UnboundedReceiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut status = "503 Service Unavailable";
        while let Ok((mut connection, _)) = listener.accept().await {
            let Some(asked) = request(&mut connection).await else {
                continue;
            };
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = connection.write_all(answer.as_bytes()).await;
            status = "204 No Content";
            if sender.send(asked).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

#[tokio::test]
async fn events_reach_a_webhook_signed_and_a_feed_that_readers_understand() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("events.key");
    let name = "alice.example/events";
    let made = run(&[
        "key",
        "generate",
        "--kind",
        "log",
        "--name",
        name,
        text(&key),
    ])
    .await;
    assert_eq!(made.code, 0, "{}", made.err);
    let vkey = run(&["key", "show", text(&key)]).await.out;
    let vkey: quorix_tlog::note::VerifierKey = vkey.trim().parse().unwrap();

    let (url, mut posted) = receiver().await;
    let hello = an_attestation();
    let alice = FolderLog::publish(dir.path().join("a"), "alice", &[hello.bytes()]);
    let mut bob = FolderLog::publish(dir.path().join("b"), "bob", &[hello.bytes()]);
    let hook = format!(
        "[[aggregator.webhooks]]\nurl = \"{url}\"\nkey = \"{}\"\n",
        text(&key)
    );
    let policy = policy(&(alice.line() + &bob.line()), "alice bob");
    let mut host = machine(dir.path(), "user", &policy, "", &hook);
    host.start().await.unwrap();
    becomes(&host, "bob", |log| log.state() == LogState::Live).await;
    bob.append(&[hello.saying("B").bytes()]);

    let subject = format!("/nix/store/{}", a_path("hello"));
    let expected = format!("\"kind\":\"disagreement\",\"subject\":\"{subject}\"");
    let mut bodies = Vec::new();
    let note = loop {
        let (head, body) = posted.recv().await.unwrap();
        assert!(head.starts_with("post /hook http/1.1"), "{head}");
        assert!(
            head.contains("content-type: text/plain; charset=utf-8"),
            "{head}"
        );
        let note = SignedNote::parse(&body).unwrap();
        assert_eq!(note.verify(&[&vkey]), Ok(()));
        let stranger = log_key("stranger.example");
        assert!(note.verify(&[stranger.verifier()]).is_err());
        bodies.push(body);
        if note.text().contains(&expected) {
            break note;
        }
    };
    // An altered body is nobody's.
    let mut altered = bodies[bodies.len() - 1].clone();
    altered[20] ^= 1;
    let is_signed =
        |bytes: &[u8]| SignedNote::parse(bytes).is_ok_and(|note| note.verify(&[&vkey]).is_ok());
    assert!(!is_signed(&altered));
    let lines: Vec<&str> = note.text().lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "quorix event v1"));
    assert!(
        lines[1]
            .strip_prefix("sent ")
            .unwrap()
            .parse::<u64>()
            .is_ok()
    );
    let event: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
    assert_eq!(event["message"], "Builders disagree about hello.");
    // What was answered with 503 came again.
    let events = |body: &Vec<u8>| {
        let note = SignedNote::parse(body).unwrap();
        note.text().lines().nth(2).unwrap().to_owned()
    };
    if bodies.len() > 1 {
        assert_eq!(events(&bodies[0]), events(&bodies[1]));
    } else {
        let (_, again) = posted.recv().await.unwrap();
        assert_eq!(events(&bodies[0]), events(&again));
    }

    let answer = reqwest::get(format!("http://{}/events.atom", host.dashboard))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let kind = &answer.headers()["content-type"];
    assert_eq!(kind, "application/atom+xml; charset=utf-8");
    let feed = answer.text().await.unwrap();
    let root = atom::element(&feed).unwrap_or_else(|error| panic!("{error}: {feed}"));
    atom::check(&root).unwrap_or_else(|error| panic!("{error}: {feed}"));
    let titles: Vec<String> = root
        .all("entry")
        .map(|entry| entry.all("title").next().unwrap().text.clone())
        .collect();
    assert!(
        titles.contains(&format!("disagreement: {subject}")),
        "{titles:?}"
    );
}

/// As much of XML 1.0 and of RFC 4287 as tells a feed that readers take from one that they do not.
mod atom {
    /// An element with its attributes, elements and text.
    #[derive(Default)]
    pub(super) struct Element {
        name: String,
        attributes: Vec<(String, String)>,
        elements: Vec<Self>,
        pub(super) text: String,
    }

    impl Element {
        pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
            self.elements
                .iter()
                .filter(move |element| element.name == name)
        }

        fn attribute(&self, name: &str) -> Option<&str> {
            let mut found = self.attributes.iter().filter(|(other, _)| other == name);
            found.next().map(|(_, value)| value.as_str())
        }
    }

    /// The root element of a document without comments, processing instructions and CDATA.
    pub(super) fn element(document: &str) -> Result<Element, String> {
        let declared = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";
        let mut rest = document
            .strip_prefix(declared)
            .ok_or("no XML declaration")?;
        let mut open: Vec<Element> = vec![Element::default()];
        while !rest.is_empty() {
            let (text, tag) = rest.split_once('<').unwrap_or((rest, ""));
            open.last_mut().unwrap().text += &unescaped(text)?;
            if rest.len() == text.len() {
                break;
            }
            let (tag, after) = tag.split_once('>').ok_or("a tag does not end")?;
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                let done = open.pop().unwrap();
                if done.name != name || open.is_empty() {
                    return Err(format!("</{name}> ends <{}>", done.name));
                }
                open.last_mut().unwrap().elements.push(done);
                continue;
            }
            let (tag, is_empty) = tag
                .strip_suffix('/')
                .map_or((tag, false), |tag| (tag, true));
            let new = started(tag)?;
            if is_empty {
                open.last_mut().unwrap().elements.push(new);
            } else {
                open.push(new);
            }
        }
        let mut document = open
            .pop()
            .filter(|_| open.is_empty())
            .ok_or("a tag is left open")?;
        if document.elements.len() != 1 || !document.text.trim().is_empty() {
            return Err("there is not exactly one root".to_owned());
        }
        document
            .elements
            .pop()
            .ok_or_else(|| "there is no root".to_owned())
    }

    fn started(tag: &str) -> Result<Element, String> {
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("<{tag}> has no name"));
        }
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            let (name, quoted) = rest.split_once("=\"").ok_or(format!("<{tag}>: {rest}"))?;
            let (value, after) = quoted.split_once('"').ok_or(format!("<{tag}>: {rest}"))?;
            attributes.push((name.trim_start().to_owned(), unescaped(value)?));
            rest = after;
        }
        Ok(Element {
            name: name.to_owned(),
            attributes,
            ..Element::default()
        })
    }

    fn unescaped(text: &str) -> Result<String, String> {
        let is_allowed =
            |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        if !text.chars().all(is_allowed) {
            return Err("a character that XML does not have".to_owned());
        }
        let mut parts = text.split('&');
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, after) = part.split_once(';').ok_or("a bare &")?;
            plain += match name {
                "amp" => "&",
                "lt" => "<",
                "gt" => ">",
                "quot" => "\"",
                "#39" => "'",
                _ => return Err(format!("&{name};")),
            };
            plain += after;
        }
        Ok(plain)
    }

    /// What RFC 4287 demands of a feed and of its entries (sections 4.1.1 and 4.1.2).
    pub(super) fn check(feed: &Element) -> Result<(), String> {
        if feed.name != "feed" || feed.attribute("xmlns") != Some("http://www.w3.org/2005/Atom") {
            return Err("no feed".to_owned());
        }
        let has_author = feed
            .all("author")
            .any(|author| author.all("name").count() == 1);
        if !has_author
            || !feed
                .all("link")
                .any(|link| link.attribute("rel") == Some("self"))
        {
            return Err("the feed has no author or no link to itself".to_owned());
        }
        let mut ids = Vec::new();
        for one in std::iter::once(feed).chain(feed.all("entry")) {
            for name in ["id", "title", "updated"] {
                if one.all(name).count() != 1 {
                    return Err(format!("<{}> has not exactly one <{name}>", one.name));
                }
            }
            let text = |name: &str| {
                one.all(name)
                    .map(|element| element.text.clone())
                    .collect::<String>()
            };
            let id = text("id");
            let is_iri = id.starts_with("urn:")
                && !id.contains(|c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c));
            if !is_iri || ids.contains(&id) {
                return Err(format!("the id {id} is no IRI, or there twice"));
            }
            ids.push(id);
            let updated = text("updated");
            let shape: String = updated
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            if shape != "0000-00-00T00:00:00Z" {
                return Err(format!("{updated} is no date of RFC 3339"));
            }
            if one.all("link").any(|link| link.attribute("href").is_none()) {
                return Err("a link leads nowhere".to_owned());
            }
        }
        Ok(())
    }
}
