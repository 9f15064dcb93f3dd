//! Requests and their answers.

use std::time::{Duration, Instant};

use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::Daemon;
use crate::options::ADMIN_TOKEN;

/// An HTTP answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; `Null` when it is none.
    pub body: Value,
    /// The body as text.
    pub text: String,
    /// From sending to the last byte.
    pub elapsed: Duration,
}

impl Answer {
    fn read(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let start = Instant::now();
        let response: Response = request.send()?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Self { status, headers, body, text, elapsed: start.elapsed() })
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A field by JSON pointer (`/compile/stderr`) as text; empty when it is missing or none.
    #[must_use]
    pub fn str(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The program's standard output.
    #[must_use]
    pub fn stdout(&self) -> &str {
        self.str("/stdout")
    }

    /// The program's standard error.
    #[must_use]
    pub fn stderr(&self) -> &str {
        self.str("/stderr")
    }

    /// A number by JSON pointer.
    ///
    /// # Panics
    /// When it is missing or no whole number.
    #[must_use]
    #[track_caller]
    pub fn number(&self, pointer: &str) -> i64 {
        let value = self.body.pointer(pointer).and_then(Value::as_i64);
        value.unwrap_or_else(|| panic!("{pointer} is no number in {}", self.text))
    }

    /// Checks the status.
    ///
    /// # Panics
    /// When it is another one.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Checks that a program ran to its own end.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn expect_success(self) -> Self {
        assert_eq!((self.status, &self.body["success"]), (200, &json!(true)), "{}", self.text);
        assert_eq!(self.body["status"], "completed", "{}", self.text);
        self
    }

    /// Checks that a program ended with exit code 0 and gives its standard output.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    #[track_caller]
    pub fn expect_stdout(self) -> String {
        let answer = self.expect_success();
        assert_eq!(answer.body["exitCode"], 0, "{}", answer.text);
        answer.stdout().to_owned()
    }

    /// Checks that a limit ended the program.
    ///
    /// # Panics
    /// When another one or none did.
    #[track_caller]
    pub fn expect_limit(self, limit: &str) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!((&self.body["success"], self.str("/limit")), (&json!(false), limit), "{}", self.text);
        assert!(!self.str("/error").is_empty(), "a limit is named in a sentence: {}", self.text);
        self
    }
}

/// A `/compile` request in the making.
#[derive(Clone)]
pub struct Program<'a> {
    daemon: &'a Daemon,
    body: Value,
}

impl Program<'_> {
    /// Sets any field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body[field] = value.into();
        self
    }

    /// Sets the standard input.
    #[must_use]
    pub fn stdin(self, text: &str) -> Self {
        self.with("stdin", text)
    }

    /// Sets the arguments.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        self.with("args", json!(args))
    }

    /// Adds a further file.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        if !self.body["files"].is_array() {
            self.body["files"] = json!([]);
        }
        if let Some(files) = self.body["files"].as_array_mut() {
            files.push(json!({"name": name, "content": content}));
        }
        self
    }

    /// Sets room and user.
    #[must_use]
    pub fn who(self, room: &str, user: &str) -> Self {
        self.with("roomId", room).with("userId", user).with("username", user)
    }

    /// Lowers the wall time.
    #[must_use]
    pub fn milliseconds(self, limit: u64) -> Self {
        self.with("timeLimitMs", limit)
    }

    /// The request's body.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// Sends it.
    #[track_caller]
    pub fn run(self) -> Answer {
        self.daemon.post("/compile", &self.body)
    }

    /// Sends it; a broken connection is an answer too.
    ///
    /// # Errors
    /// When the connection broke before the whole answer was there.
    pub fn try_run(self) -> Result<Answer, reqwest::Error> {
        Answer::read(self.daemon.http.post(self.daemon.url("/compile")).json(&self.body))
    }
}

impl Daemon {
    /// Begins a `/compile` request.
    #[must_use]
    pub fn program(&self, language: &str, code: &str) -> Program<'_> {
        Program { daemon: self, body: json!({"language": language, "code": code}) }
    }

    /// Runs a program.
    #[track_caller]
    pub fn run(&self, language: &str, code: &str) -> Answer {
        self.program(language, code).run()
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path)))
    }

    /// `POST` with a JSON body.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(self.url(path)).json(body))
    }

    /// `POST` with a JSON body and the admin token.
    #[track_caller]
    pub fn post_as_admin(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(self.url(path)).bearer_auth(ADMIN_TOKEN).json(body))
    }

    /// `DELETE`.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send(self.http.delete(self.url(path)))
    }

    /// Any request: `build` gets the client and the absolute URL.
    #[track_caller]
    pub fn request(
        &self,
        path: &str,
        build: impl FnOnce(&reqwest::blocking::Client, String) -> RequestBuilder,
    ) -> Answer {
        self.send(build(&self.http, self.url(path)))
    }

    #[track_caller]
    fn send(&self, request: RequestBuilder) -> Answer {
        match Answer::read(request) {
            Ok(answer) => answer,
            Err(error) => panic!("no answer: {error:?}\n--- the daemon's log\n{}", self.log()),
        }
    }
}
