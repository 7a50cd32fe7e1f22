//! A reader of the HTML that our templates write: strict about balance, quoting and unique names, ignorant of
//! everything that they never use.

use std::collections::BTreeSet;

const VOID: [&str; 5] = ["meta", "link", "input", "br", "rect"];
const BLOCKS: [&str; 14] = [
    "p", "div", "ul", "ol", "dl", "table", "pre", "figure", "section", "h1", "h2", "h3", "form",
    "details",
];

/// Asserts that all tags are closed in order, attributes are quoted and there once, ids are unique, nothing that
/// is a block stands in a paragraph, and neither style nor script is inline.
pub(crate) fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut headings = 0;
    let body = page
        .strip_prefix("<!doctype html>")
        .unwrap_or_else(|| panic!("no doctype: {page:.100}"));
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece
            .split_once('>')
            .unwrap_or_else(|| panic!("tag without end: {piece:.200}"));
        assert!(!text.contains('>'), "unescaped > in: {text:.200}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "closed out of order, after: {open:?}"
            );
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        headings += usize::from(name == "h1");
        if BLOCKS.contains(&name) {
            assert!(!open.contains(&"p"), "<{name}> in a paragraph, in {open:?}");
        }
        for (attribute, value) in attributes(tag) {
            assert!(
                !attribute.starts_with("on") && attribute != "style",
                "inline {attribute} in <{tag}>"
            );
            if attribute == "id" {
                assert!(ids.insert(value), "the id {value} is there twice");
            }
            if matches!(attribute, "href" | "src" | "action") {
                let local = value.starts_with('/') || value.starts_with('#');
                assert!(local && !value.starts_with("//"), "leads away: <{tag}>");
            }
        }
        if matches!(name, "script" | "style") {
            assert!(tag.contains(" src=") && text.is_empty(), "inline {name}");
        }
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "left open");
    assert_eq!(headings, 1, "a page has one h1");
}

fn attributes(tag: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = tag
        .split_once(' ')
        .map(|(_, rest)| rest)
        .unwrap_or_default()
        .trim_end_matches('/');
    while !rest.trim().is_empty() {
        rest = rest.trim_start();
        let name_ends = rest.find([' ', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(name_ends);
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-:".contains(&byte)),
            "odd attribute {name} in <{tag}>"
        );
        let value = match after.strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted
                    .split_once('"')
                    .unwrap_or_else(|| panic!("unclosed quote in <{tag}>"));
                rest = after;
                value
            }
            None => {
                assert!(!after.starts_with('='), "unquoted attribute in <{tag}>");
                rest = after;
                ""
            }
        };
        assert!(
            found.iter().all(|(other, _)| *other != name),
            "{name} is there twice in <{tag}>"
        );
        found.push((name, value));
    }
    found
}

/// The text of a page without tags and entities, each run of white space as one space.
pub(crate) fn text(page: &str) -> String {
    let mut text = String::new();
    for piece in page.split('<') {
        let (tag, said) = piece.split_once('>').unwrap_or(("", piece));
        let inline = [
            "b", "/b", "a", "/a", "bdi", "/bdi", "code", "/code", "span", "/span", "strong",
            "/strong", "time", "/time",
        ];
        let name = tag.split(' ').next().unwrap_or_default();
        text.push_str(if inline.contains(&name) { "" } else { " " });
        text.push_str(said);
    }
    for (entity, character) in [
        ("&#34;", "\""),
        ("&#38;", "&"),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&#62;", ">"),
    ] {
        text = text.replace(entity, character);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_reader_finds_what_is_wrong_with_a_page() {
    let page = |content: &str| format!("<!doctype html><main><h1>x</h1>{content}</main>");
    assert_well_formed(&page("<p>a<br>b</p><a href=\"/x\">y</a>"));
    for wrong in [
        "<p>",
        "</p>",
        "<p><b></p></b>",
        "<p><div></div></p>",
        "<a href=/x></a>",
        "<a href=\"/x\" href=\"/y\"></a>",
        "<a href=\"https://x.example\"></a>",
        "<a href=\"//x.example\"></a>",
        "<p style=\"color:red\"></p>",
        "<p onclick=\"x\"></p>",
        "<script>x</script>",
        "<p id=\"x\"></p><p id=\"x\"></p>",
        "<h1></h1>",
        "a > b",
    ] {
        let page = page(wrong);
        assert!(
            std::panic::catch_unwind(|| assert_well_formed(&page)).is_err(),
            "{wrong} passed"
        );
    }
}
