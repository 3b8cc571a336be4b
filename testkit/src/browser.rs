mod sound;

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::HANG;

/// The viewport and color scheme in which a page is rendered.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether `prefers-color-scheme` is `dark`.
    pub dark: bool,
}

/// A headless Chromium with one page. It is controlled by the `DevTools` protocol through a pipe,
/// which needs no port. This client implements only the commands that the tests use, so it needs no
/// library. The browser profile is empty and is deleted when this value is dropped.
pub struct Browser {
    child: Child,
    commands: File,
    answers: Receiver<Value>,
    events: Vec<Value>,
    sent: u64,
    session: Option<String>,
    _profile: TempDir,
}

/// A page, with the events since it was opened.
pub struct Page<'b> {
    browser: &'b mut Browser,
}

/// Names of the program: first the name on Debian, then the names on other systems.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

impl Browser {
    /// Starts Chromium. Panics if it is not installed, so that no page test is skipped unnoticed.
    #[must_use]
    pub fn start() -> Self {
        let named = std::env::var("CHROMIUM").ok();
        let found = |name: &&str| {
            Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
        };
        let program = named.or_else(|| NAMES.into_iter().find(found).map(str::to_owned));
        let program =
            program.expect("chromium is not installed: apt-get install chromium, or set CHROMIUM");
        let profile = tempfile::tempdir().unwrap();
        let (down, up) = (profile.path().join("down"), profile.path().join("up"));
        assert!(Command::new("mkfifo").args([&down, &up]).status().unwrap().success());
        // Chromium reads commands from descriptor 3 and writes responses to descriptor 4.
        let script = r#"exec 3<"$1" 4>"$2"; shift 2; exec "$@""#;
        let child = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&down, &up])
            .arg(&program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            // On a busy machine, Chromium may treat the window as covered. It would then hide the
            // page and suspend its timers.
            .args(["--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"])
            .arg("--disable-background-timer-throttling")
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--force-color-profile=srgb", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .env("TZ", "UTC")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Open the pipes in the same order as the shell: each open waits for the other end.
        let commands = OpenOptions::new().write(true).open(&down).unwrap();
        let mut from = BufReader::new(File::open(&up).unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while from.read_until(0, &mut message).is_ok_and(|bytes| bytes > 0) {
                let text = message.strip_suffix(&[0]).unwrap_or(&message);
                if sender.send(serde_json::from_slice(text).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        Self {
            child,
            commands,
            answers,
            events: Vec::new(),
            sent: 0,
            session: None,
            _profile: profile,
        }
    }

    /// Opens a URL and records the events of the page from its start.
    pub fn open(&mut self, url: &str, screen: Screen) -> Page<'_> {
        self.open_with(url, screen, "")
    }

    /// Opens a page like [`Self::open`], with a script that runs before the scripts of the page,
    /// like the script of a browser extension.
    pub fn open_with(&mut self, url: &str, screen: Screen, script: &str) -> Page<'_> {
        self.session = None;
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session =
            self.call("Target.attachToTarget", &attach)["sessionId"].as_str().unwrap().to_owned();
        self.session = Some(session);
        self.events.clear();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
        self.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": script}));
        let mut page = Page { browser: self };
        page.look_by(screen);
        page.browser.call("Page.navigate", &json!({"url": url}));
        page
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        let deadline = Instant::now() + HANG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self
                .answers
                .recv_timeout(left)
                .unwrap_or_else(|e| panic!("no response from chromium to {method}: {e}"));
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Let Chromium stop its helper processes. If it were killed, they would keep running.
        self.session = None;
        let _ = self.commands.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + HANG;
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Page<'_> {
    /// Changes the viewport and color scheme.
    pub fn look_by(&mut self, screen: Screen) {
        let Screen { width, height, dark } = screen;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.browser.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.browser.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Ignores the content security policies of documents that are opened from now on. Third-party
    /// pages have content security policies of their own.
    pub fn ignore_policies(&mut self) {
        self.browser.call("Page.setBypassCSP", &json!({"enabled": true}));
    }

    /// Evaluates a JavaScript expression and returns its value as JSON.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.browser.call("Runtime.evaluate", &params);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + HANG;
        while self.evaluate(expression) != true {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText");
                panic!(
                    "the expression did not become true: {expression}\n{}\n{:?}",
                    text.as_str().unwrap_or(""),
                    self.complaints()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the text of the first element that matches a selector.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.evaluate(&format!("document.querySelector({selector:?})?.innerText"));
        found.as_str().unwrap_or_else(|| panic!("no element matches {selector}")).to_owned()
    }

    /// Returns a PNG screenshot of the visible part of the page.
    pub fn picture(&mut self) -> Vec<u8> {
        let params = json!({"format": "png", "captureBeyondViewport": false});
        let answer = self.browser.call("Page.captureScreenshot", &params);
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// Returns the errors and warnings of the console, uncaught exceptions, and violations of the
    /// content security policy.
    #[must_use]
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("0");
        let complaint = |event: &Value| {
            let params = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(params.to_string()),
                "Runtime.consoleAPICalled"
                    if params["type"] == "error" || params["type"] == "warning" =>
                {
                    Some(params.to_string())
                }
                "Log.entryAdded" => Some(params["entry"]["text"].to_string()),
                _ => None,
            }
        };
        self.browser.events.iter().filter_map(complaint).collect()
    }

    /// Returns the URLs that the page has requested.
    #[must_use]
    pub fn requests(&mut self) -> Vec<String> {
        self.evaluate("0");
        let sent = self
            .browser
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| Some(event["params"]["request"]["url"].as_str()?.to_owned()))
            .collect()
    }
}
