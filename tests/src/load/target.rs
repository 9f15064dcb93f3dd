//! Whom the load goes to, and what came of one request.

use std::time::{Duration, Instant, SystemTime};

use reqwest::Client;
use serde_json::{Value, json};

use super::Program;

/// Longer than any bound of a daemon under test.
const PATIENCE: Duration = Duration::from_secs(180);

/// The interface that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `POST /compile`.
    Crankcase,
    /// `POST /api/v2/execute` of Piston, which knows no rooms or users.
    Piston,
}

/// A service under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is called in the results.
    pub name: String,
    /// Its address, without a slash at the end.
    pub url: String,
    /// How to talk to it.
    pub api: Api,
    client: Client,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Job {
    /// What to run.
    pub program: Program,
    /// In which room; none is outside of any.
    pub room: Option<String>,
    /// Whose.
    pub user: String,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program's own answer, whole and right; or, of a hostile one, that a limit or its own deed ended it.
    Right,
    /// A clean refusal: 429 or 503, in JSON, with `Retry-After`.
    Refused {
        /// The `code` of the answer.
        code: String,
        /// Seconds.
        retry_after: u64,
        /// The execution that waited in vain, where it was one already.
        execution: Option<String>,
    },
    /// Anything else, in words.
    Wrong(String),
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Sample {
    /// From when it was due to be sent.
    pub due: Instant,
    /// From then to the last byte of the answer.
    pub elapsed: Duration,
    /// When the answer was there, by the wall clock.
    pub answered_at: SystemTime,
    /// What came.
    pub outcome: Outcome,
    /// Whether the program was one that behaves.
    pub benign: bool,
}

impl Target {
    /// A service at a URL.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    #[must_use]
    pub fn new(name: &str, url: &str, api: Api) -> Self {
        let client = Client::builder().timeout(PATIENCE).no_proxy().tcp_nodelay(true).build().expect("an HTTP client");
        Self { name: name.to_owned(), url: url.trim_end_matches('/').to_owned(), api, client }
    }

    /// Sends one program and judges the answer; `due` is when it should have been sent.
    pub async fn send(&self, job: &Job, due: Instant) -> Sample {
        let outcome = match self.ask(job).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Wrong(format!("no answer: {error:?}")),
        };
        Sample {
            due,
            elapsed: due.elapsed(),
            answered_at: SystemTime::now(),
            outcome,
            benign: job.program.stdout.is_some(),
        }
    }

    async fn ask(&self, job: &Job) -> reqwest::Result<Outcome> {
        let (path, body) = match self.api {
            Api::Crankcase => ("/compile", self.compile_body(job)),
            Api::Piston => ("/api/v2/execute", piston_body(job)),
        };
        let response = self.client.post(format!("{}{path}", self.url)).json(&body).send().await?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.text().await?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let code = answer["code"].as_str().map(str::to_owned);
        Ok(match (status, retry_after, code) {
            (200, ..) => self.judge(&job.program, &answer),
            (429 | 503, Some(retry_after), Some(code)) => {
                let execution = answer["executionId"].as_str().map(str::to_owned);
                Outcome::Refused { code, retry_after, execution }
            }
            (429 | 503, Some(retry_after), None) if self.api == Api::Piston && answer["message"].is_string() => {
                Outcome::Refused { code: status.to_string(), retry_after, execution: None }
            }
            _ => Outcome::Wrong(format!("{status}: {text}")),
        })
    }

    fn compile_body(&self, job: &Job) -> Value {
        let program = &job.program;
        let mut body = json!({
            "language": program.language, "code": program.code, "stdin": program.stdin,
            "userId": job.user, "username": job.user,
        });
        if let Some(room) = &job.room {
            body["roomId"] = json!(room);
        }
        if let Some(limit) = program.time_limit {
            body["timeLimitMs"] = json!(limit);
        }
        body
    }

    fn judge(&self, program: &Program, answer: &Value) -> Outcome {
        let (stdout, of_service) = match self.api {
            Api::Crankcase => (&answer["stdout"], answer["limit"].is_null() && answer["success"] == false),
            Api::Piston => (&answer["run"]["stdout"], answer["run"].is_null()),
        };
        let right = match &program.stdout {
            Some(expected) => stdout == expected && !of_service,
            // A limit, a signal, an exit code: all but a failure of the service's own.
            None => !of_service,
        };
        if right { Outcome::Right } else { Outcome::Wrong(format!("200: {answer}")) }
    }
}

fn piston_body(job: &Job) -> Value {
    let program = &job.program;
    let mut body = json!({
        "language": program.language, "version": "*", "files": [{"content": program.code}], "stdin": program.stdin,
    });
    if let Some(limit) = program.time_limit {
        body["run_timeout"] = json!(limit);
    }
    body
}

impl Sample {
    /// Whether the program ran and the answer is right.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.outcome == Outcome::Right
    }

    /// When the answer was there.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.due + self.elapsed
    }
}
