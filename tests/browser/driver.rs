//! ChromeDriver on a free port, and browsers that it opens: headless, each with an empty profile, cut off from every
//! host but this one. Ends the driver and its browsers when dropped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page::Page;

const HINT: &str = "These tests drive Chromium: `make test` installs it, or name its driver in QUORIX_CHROMEDRIVER and itself in QUORIX_CHROMIUM.";

/// Chromium without a window, without a sandbox (root has none), and without anything that it does by itself.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

/// Whether pages may run scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JavaScript {
    On,
    Off,
}

/// A running ChromeDriver.
pub(crate) struct Driver {
    child: Child,
    port: u16,
    profiles: TempDir,
    /// Kept open: the driver may write to it for as long as it runs.
    _output: BufReader<ChildStdout>,
}

/// The driver's name or path.
pub(crate) fn driver_name() -> String {
    std::env::var("QUORIX_CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".to_owned())
}

impl Driver {
    /// Starts a driver, or says in a sentence why not and what to do.
    pub(crate) fn start(name: &str) -> Result<Self, String> {
        let profiles =
            TempDir::with_prefix("quorix-browser-").map_err(|error| error.to_string())?;
        let mut child = Command::new(name)
            .args(["--port=0", "--log-level=OFF"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{name}` does not start: {error}. {HINT}"))?;
        let mut output = BufReader::new(child.stdout.take().ok_or("the driver has no output")?);
        let mut said = String::new();
        while output.read_line(&mut said).is_ok_and(|read| read > 0) {
            let port = said
                .lines()
                .last()
                .and_then(|line| line.split_once("started successfully on port "));
            if let Some((_, port)) = port {
                let port = port
                    .trim_end_matches('.')
                    .parse()
                    .map_err(|error| format!("`{port}`: {error}"))?;
                return Ok(Self {
                    child,
                    port,
                    profiles,
                    _output: output,
                });
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!(
            "`{name}` ends without naming its port; it said: {said:?}. {HINT}"
        ))
    }

    /// Opens a browser for the pages at this address.
    pub(crate) async fn open(
        self,
        dashboard: &str,
        javascript: JavaScript,
    ) -> Result<Page, String> {
        let profile = self.profiles.path().join("profile");
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let mut options = json!({ "args": arguments });
        if javascript == JavaScript::Off {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        if let Ok(browser) = std::env::var("QUORIX_CHROMIUM") {
            options["binary"] = browser.into();
        }
        let Value::Object(capabilities) = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }) else {
            return Err("capabilities are an object".to_owned());
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", self.port))
            .await
            .map_err(|error| format!("Chromium does not start: {error}. {HINT}"))?;
        Ok(Page::new(self, client, dashboard, javascript))
    }
}

impl Drop for Driver {
    /// Asks the driver to close its browsers and to end, which a signal would not make it do for the browsers.
    fn drop(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(
                b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            );
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
