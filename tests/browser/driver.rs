//! ChromeDriver on a free port, and browsers that it opens: headless, each with an empty profile, cut off from every
//! host but this one. Ends the driver and its browsers when dropped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page::Page;

const HINT: &str = "These tests drive Chromium: `make test` installs it, or name its driver in QUORIX_CHROMEDRIVER and \
                    itself in QUORIX_CHROMIUM.";

/// How long the driver may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Chromium without a window, without a sandbox (root has none), and without anything that it does by itself.
const ARGUMENTS: [&str; 12] = [
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
    // The driver clicks where a link was before the page began to scroll smoothly.
    "--force-prefers-reduced-motion",
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
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{name}` does not start: {error}. {HINT}"))?;
        let output = child.stdout.take().ok_or("the driver has no output")?;
        let (sender, lines) = mpsc::channel();
        // Reads on after the port is known, so that the driver can always write.
        thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)));
        });
        let mut said = Vec::new();
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                let port = port
                    .trim_end_matches('.')
                    .parse()
                    .map_err(|error| format!("`{port}`: {error}"))?;
                return Ok(Self {
                    child,
                    port,
                    profiles,
                });
            }
            said.push(line);
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!(
            "`{name}` does not tell its port; it said {said:?}. {HINT}"
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
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.write_all(
                b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
            );
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
