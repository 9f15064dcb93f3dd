//! The small routes: who is there, how it is, and what is not found.

use crankcase_tests::shared;

#[test]
fn root_names_the_service() {
    let answer = shared().get("/").expect_status(200);
    for field in ["version", "status", "features"] {
        assert!(!answer.body[field].is_null(), "{field}: {}", answer.text);
    }
    assert!(answer.text.to_lowercase().contains("crankcase"), "{}", answer.text);
}

#[test]
fn health_says_ok_with_time_and_uptime() {
    let answer = shared().get("/health").expect_status(200);
    assert_eq!(answer.body["status"], "OK");
    assert!(answer.str("/timestamp").ends_with('Z'), "{}", answer.text);
    let first = answer.body["uptime"].as_f64().expect("seconds");
    let second = shared().get("/health").body["uptime"].as_f64().expect("seconds");
    assert!(second >= first && first >= 0.0);
}

#[test]
fn test_gives_message_and_port() {
    let answer = shared().get("/test").expect_status(200);
    assert!(!answer.str("/message").is_empty(), "{}", answer.text);
    assert_eq!(answer.number("/port"), i64::from(shared().address().port()));
}

#[test]
fn unknown_paths_are_404_in_the_originals_words() {
    for (method, path) in [("GET", "/nothing"), ("POST", "/nothing/at/all"), ("DELETE", "/x"), ("GET", "/compile")] {
        let answer = shared().request(path, |http, url| http.request(method.parse().expect("a method"), url));
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
        assert_eq!(answer.body["error"], "Not Found");
        assert_eq!(answer.body["message"], format!("Cannot {method} {path}"));
    }
}

#[test]
fn rooms_are_six_hexadecimal_characters_and_never_the_same() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let answer = shared().post("/api/room/create-room", &serde_json::json!({})).expect_status(200);
        let room = answer.str("/roomId").to_owned();
        assert!(room.len() == 6 && room.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{room}");
        assert!(seen.insert(room));
    }
}
