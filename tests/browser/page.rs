//! What a reader does on a page: open, read, click, write; every look waits until what is looked for is there.
//! And what the browser noticed meanwhile: complaints on its console, requests to others.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, Locator};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::driver::{Driver, JavaScript};

/// How long anything on a page may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(25);

/// A browser with the dashboard open. Cheap to clone; the browser ends with the last.
#[derive(Clone)]
pub(crate) struct Page {
    client: Client,
    base: Url,
    pub(crate) javascript: JavaScript,
    _driver: Arc<Driver>,
}

impl Page {
    pub(crate) fn new(
        driver: Driver,
        client: Client,
        dashboard: &str,
        javascript: JavaScript,
    ) -> Self {
        let base = dashboard.parse().expect("the dashboard has a URL");
        Self {
            client,
            base,
            javascript,
            _driver: Arc::new(driver),
        }
    }

    /// Opens a path of the dashboard, as typed into the address bar.
    pub(crate) async fn open(&self, path: &str) {
        let url = self.base.join(path).unwrap();
        self.client
            .goto(url.as_str())
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Path and query of the address bar.
    pub(crate) async fn address(&self) -> String {
        let url = self.client.current_url().await.unwrap();
        assert_eq!(url.origin(), self.base.origin(), "the dashboard was left");
        url.query().map_or_else(
            || url.path().to_owned(),
            |query| format!("{}?{query}", url.path()),
        )
    }

    /// Waits until the address bar has this path and query, and a fragment where one is given.
    pub(crate) async fn arrives_at(&self, path: &str) {
        let url = self.base.join(path).unwrap();
        let arrived = self
            .client
            .wait()
            .at_most(PATIENCE)
            .every(BETWEEN)
            .for_url(&url)
            .await;
        let here = self.client.current_url().await.unwrap();
        arrived
            .unwrap_or_else(|error| panic!("expected to arrive at {url}, is at {here}: {error}"));
    }

    pub(crate) async fn title(&self) -> String {
        self.client.title().await.unwrap()
    }

    /// The first element that this CSS selector finds.
    pub(crate) async fn find(&self, css: &str) -> Element {
        let found = self
            .client
            .wait()
            .at_most(PATIENCE)
            .every(BETWEEN)
            .for_element(Locator::Css(css))
            .await;
        match found {
            Ok(element) => element,
            Err(error) => self.lost(css, &error.to_string()).await,
        }
    }

    /// How many elements this selector finds on the page as it is now.
    pub(crate) async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.unwrap().len()
    }

    /// The visible text of the first such element.
    pub(crate) async fn text(&self, css: &str) -> String {
        self.find(css).await.text().await.unwrap()
    }

    /// The visible texts of all such elements, of which there is at least one.
    pub(crate) async fn texts(&self, css: &str) -> Vec<String> {
        self.find(css).await;
        let mut texts = Vec::new();
        for element in self.client.find_all(Locator::Css(css)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    /// The rows of a table's body, each as the visible texts of its cells.
    pub(crate) async fn rows(&self, table: &str) -> Vec<Vec<String>> {
        self.find(&format!("{table} tbody tr")).await;
        let mut rows = Vec::new();
        for row in self
            .client
            .find_all(Locator::Css(&format!("{table} tbody tr")))
            .await
            .unwrap()
        {
            let mut cells = Vec::new();
            for cell in row.find_all(Locator::Css("th, td")).await.unwrap() {
                cells.push(cell.text().await.unwrap());
            }
            rows.push(cells);
        }
        rows
    }

    pub(crate) async fn attribute(&self, css: &str, name: &str) -> Option<String> {
        self.find(css).await.attr(name).await.unwrap()
    }

    /// What the field holds now.
    pub(crate) async fn value(&self, css: &str) -> String {
        self.find(css)
            .await
            .prop("value")
            .await
            .unwrap()
            .unwrap_or_default()
    }

    pub(crate) async fn is_visible(&self, css: &str) -> bool {
        self.find(css).await.is_displayed().await.unwrap()
    }

    pub(crate) async fn click(&self, css: &str) {
        let clicked = self.find(css).await.click().await;
        if let Err(error) = clicked {
            self.lost(css, &error.to_string()).await
        }
    }

    /// Clicks the link with this text inside of an element.
    pub(crate) async fn follow(&self, inside: &str, text: &str) {
        let link = self.find(inside).await.find(Locator::LinkText(text)).await;
        match link {
            Ok(link) => link.click().await.unwrap(),
            Err(error) => {
                self.lost(&format!("link “{text}” in {inside}"), &error.to_string())
                    .await
            }
        }
    }

    /// Replaces what a field holds.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Presses keys while no field has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        self.find("body").await.send_keys(keys).await.unwrap();
    }

    pub(crate) async fn choose(&self, select: &str, value: &str) {
        self.find(select)
            .await
            .select_by_value(value)
            .await
            .unwrap();
    }

    /// The `id` of the element with the focus.
    pub(crate) async fn focused(&self) -> Option<String> {
        self.client
            .active_element()
            .await
            .unwrap()
            .attr("id")
            .await
            .unwrap()
    }

    /// A computed colour: red, green and blue from 0 to 255.
    pub(crate) async fn colour(&self, css: &str, property: &str) -> [f64; 3] {
        let text = self.find(css).await.css_value(property).await.unwrap();
        let numbers = text
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .trim_end_matches(')');
        let numbers: Vec<f64> = numbers
            .split(',')
            .filter_map(|number| number.trim().parse().ok())
            .collect();
        match numbers.as_slice() {
            [red, green, blue, ..] => [*red, *green, *blue],
            _ => panic!("{property} of {css} is `{text}`"),
        }
    }

    /// Runs a script as the developer's tools do: also where pages may run none.
    pub(crate) async fn evaluate(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) {
        self.ask(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
        .await;
    }

    /// Errors and warnings on the console since the last look: of scripts, of the content security policy, of loading.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let serious = entries
            .iter()
            .filter(|entry| !matches!(entry["level"].as_str(), Some("INFO" | "DEBUG")));
        serious.map(|entry| entry["message"].to_string()).collect()
    }

    /// Waits for a complaint that contains this text, and forgets it with all before.
    pub(crate) async fn complains_of(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while !seen
            .iter()
            .any(|complaint: &String| complaint.contains(text))
        {
            assert!(
                Instant::now() < end,
                "no complaint of `{text}`, only {seen:?}"
            );
            sleep(BETWEEN).await;
            seen.extend(self.complaints().await);
        }
    }

    /// URLs that pages asked for since the last look, and that are not the dashboard's.
    pub(crate) async fn requests_to_strangers(&self) -> Vec<String> {
        let base = self.base.as_str();
        self.requests()
            .await
            .into_iter()
            .filter(|url| !url.starts_with(base) && !url.starts_with("data:"))
            .collect()
    }

    /// URLs that pages asked for since the last look. The browser's own pages do not count.
    pub(crate) async fn requests(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for entry in self.log("performance").await {
            let message: Value =
                serde_json::from_str(entry["message"].as_str().unwrap_or_default()).unwrap();
            let (method, parameters) =
                (&message["message"]["method"], &message["message"]["params"]);
            let is_own = parameters["documentURL"]
                .as_str()
                .is_some_and(|url| url.starts_with("chrome:"));
            if method == "Network.requestWillBeSent" && !is_own {
                urls.extend(parameters["request"]["url"].as_str().map(str::to_owned));
            }
        }
        urls
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        match self.ask("se/log", json!({ "type": kind })).await {
            Value::Array(entries) => entries,
            other => panic!("the {kind} log is {other}"),
        }
    }

    async fn ask(&self, endpoint: &'static str, body: Value) -> Value {
        let asked = self
            .client
            .issue_cmd(Command {
                endpoint,
                body: body.to_string(),
            })
            .await;
        asked.unwrap_or_else(|error| panic!("{endpoint} {body}: {error}"))
    }

    async fn lost(&self, what: &str, error: &str) -> ! {
        let here = self
            .client
            .current_url()
            .await
            .map(|url| url.to_string())
            .unwrap_or_default();
        let body = self
            .client
            .find(Locator::Css("body"))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        panic!(
            "JavaScript {:?}: no {what} at {here}: {error}\n{body}",
            self.javascript
        );
    }
}

/// A command that only ChromeDriver has.
#[derive(Debug)]
struct Command {
    endpoint: &'static str,
    body: String,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as FromStr>::Err> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.endpoint
        ))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.clone()))
    }
}
