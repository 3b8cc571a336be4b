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

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// By `prefers-color-scheme`.
    pub dark: bool,
}

/// A headless Chromium with one page, spoken to by the `DevTools` protocol through a pipe: no port,
/// and no library that follows the whole protocol. Its profile is empty, and gone with it.
pub struct Browser {
    child: Child,
    commands: File,
    answers: Receiver<Value>,
    events: Vec<Value>,
    sent: u64,
    session: Option<String>,
    _profile: TempDir,
}

/// What happened on a page since it was opened.
pub struct Page<'b> {
    browser: &'b mut Browser,
}

/// Debian's name, others'.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

impl Browser {
    /// Starts it; panics where there is none, for a page that nobody looked at has not been tested.
    #[must_use]
    pub fn start() -> Self {
        let named = std::env::var("CHROMIUM").ok();
        let found = |name: &&str| {
            Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
        };
        let program = named.or_else(|| NAMES.into_iter().find(found).map(str::to_owned));
        let program = program.expect(
            "there is no chromium to look at pages with: apt-get install chromium, or set CHROMIUM",
        );
        let profile = tempfile::tempdir().unwrap();
        let (down, up) = (profile.path().join("down"), profile.path().join("up"));
        assert!(Command::new("mkfifo").args([&down, &up]).status().unwrap().success());
        // It reads commands from descriptor 3 and answers on 4.
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
            // On a busy machine Chromium may take the window for covered: then pages are hidden,
            // and their timers stand still.
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
        // In the order in which the shell opens them: each waits for the other end.
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

    /// Opens an address, and watches it from its beginning.
    pub fn open(&mut self, url: &str, screen: Screen) -> Page<'_> {
        self.open_with(url, screen, "")
    }

    /// The same, with a script that runs before those of the page, as an extension's does.
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
                .unwrap_or_else(|e| panic!("chromium on {method}: {e}"));
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
        // It ends its own helpers then; killed, it would leave them behind.
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
    /// From now on it is looked at like this.
    pub fn look_by(&mut self, screen: Screen) {
        let Screen { width, height, dark } = screen;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.browser.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]);
        self.browser.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Ignores the content security policies of documents that are opened from now on: a page of
    /// somebody else's has its own.
    pub fn ignore_policies(&mut self) {
        self.browser.call("Page.setBypassCSP", &json!({"enabled": true}));
    }

    /// What an expression of JavaScript comes to, as JSON.
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

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + HANG;
        while self.evaluate(expression) != true {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText");
                panic!(
                    "did not come true on the page: {expression}\n{}\n{:?}",
                    text.as_str().unwrap_or(""),
                    self.complaints()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of the element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.evaluate(&format!("document.querySelector({selector:?})?.innerText"));
        found.as_str().unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }

    /// A picture of what is seen without scrolling, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let params = json!({"format": "png", "captureBeyondViewport": false});
        let answer = self.browser.call("Page.captureScreenshot", &params);
        STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }

    /// What stands in its console as an error or a warning, what it threw, and what a policy kept
    /// it from.
    #[must_use]
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("0");
        let told = |event: &Value| {
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
        self.browser.events.iter().filter_map(told).collect()
    }

    /// The addresses that it asked for.
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
