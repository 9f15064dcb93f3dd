//! What a browser asks before it lets a page talk to us.

use crankcase_tests::{Daemon, Options, shared};
use reqwest::Method;

const GOOD: &str = "http://localhost:3000";

#[test]
fn the_default_origins_are_allowed_with_credentials_on_answers_and_errors() {
    for origin in [GOOD, "http://localhost:5173", "http://127.0.0.1:3000", "http://127.0.0.1:5173"] {
        for path in ["/health", "/nothing"] {
            let answer = shared().request(path, |http, url| http.get(url).header("origin", origin));
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
        }
        let refused = shared().request("/compile", |http, url| {
            http.post(url).header("origin", origin).header("content-type", "application/json").body("{")
        });
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (400, Some(origin)));
        let large = shared().request("/compile", |http, url| {
            http.post(url).header("origin", origin).header("content-type", "application/json").body("x".repeat(80_000))
        });
        assert_eq!((large.status, large.header("access-control-allow-origin")), (413, Some(origin)));
    }
}

#[test]
fn a_preflight_is_answered() {
    let answer = shared().request("/compile", |http, url| {
        http.request(Method::OPTIONS, url)
            .header("origin", GOOD)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
    });
    assert!([200, 204].contains(&answer.status), "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), Some(GOOD));
    let methods = answer.header("access-control-allow-methods").unwrap_or_default();
    assert!(methods.contains("POST") && methods.contains("DELETE"), "{methods}");
    let headers = answer.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
    assert!(headers.contains("content-type"), "{headers}");
}

#[test]
fn other_origins_are_not_allowed() {
    let good = shared().request("/health", |http, url| http.get(url).header("origin", GOOD));
    assert_eq!(good.header("access-control-allow-origin"), Some(GOOD));
    for origin in ["http://evil.example", "http://localhost:3001", "null", "http://localhost:3000.evil.example"] {
        let answer = shared().request("/health", |http, url| http.get(url).header("origin", origin));
        assert_ne!(answer.header("access-control-allow-origin"), Some(origin));
        assert_ne!(answer.header("access-control-allow-origin"), Some("*"));
    }
}

#[test]
fn the_environment_sets_the_origins() {
    let daemon = Daemon::start(Options::new().env("ALLOWED_ORIGINS", "https://a.example, https://b.example"));
    for (origin, allowed) in [("https://a.example", true), ("https://b.example", true), (GOOD, false)] {
        let answer = daemon.request("/health", |http, url| http.get(url).header("origin", origin));
        assert_eq!(answer.header("access-control-allow-origin") == Some(origin), allowed, "{origin}");
    }
}
