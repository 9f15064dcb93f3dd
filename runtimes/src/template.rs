//! Words of a command with placeholders in braces: `-Xmx{heap-mb}m`.
//!
//! `{{` and `}}` stand for the braces themselves. A placeholder that nothing defines is an error when the
//! manifest is loaded, never when a program runs.

use std::path::PathBuf;

/// A parsed word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Value),
    Tool(String),
    Sources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Source,
    Class,
    MainClass,
    MemoryMb,
    HeapMb,
}

/// The names that a tool cannot have, because they mean something already.
pub(crate) const RESERVED: [&str; 6] = ["source", "sources", "class", "main-class", "memory-mb", "heap-mb"];

/// What the placeholders stand for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values<'a> {
    /// `{source}`: the main file's name.
    pub(crate) source: &'a str,
    /// `{sources}`: the main file and every further one that the compiler wants named.
    pub(crate) sources: &'a [String],
    /// `{class}`: the name that the main file's name must have.
    pub(crate) class: &'a str,
    /// `{main-class}`: the class to start, with its package.
    pub(crate) main_class: &'a str,
    /// `{memory-mb}`: the stage's memory limit in MiB.
    pub(crate) memory_mb: u64,
    /// `{heap-mb}`: the part of it that a managed heap may take.
    pub(crate) heap_mb: u64,
    /// Each tool's name and path.
    pub(crate) tools: &'a [(String, PathBuf)],
}

impl Template {
    /// Parses a word in which `tools` are the further placeholders.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str, tools: &[&str]) -> Result<Self, String> {
        if text.contains('\0') {
            return Err(format!("{text:?} holds a NUL character"));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some(after) = tail.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = tail.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else {
                let end = tail.find('}').filter(|end| *end > 0);
                let end = end.ok_or_else(|| format!("{text:?} has a brace without its partner"))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(placeholder(&tail[1..end], tools)?);
                rest = &tail[end + 1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.len() > 1 && parts.contains(&Part::Sources) {
            return Err(format!("{text:?}: {{sources}} must be a word of its own"));
        }
        Ok(Self(parts))
    }

    /// Whether the word starts like the path of a program: a tool, `/` or `./`.
    pub(crate) fn starts_program(&self) -> bool {
        match self.0.first() {
            Some(Part::Tool(_)) => true,
            Some(Part::Text(text)) => text.starts_with('/') || text.starts_with("./"),
            _ => false,
        }
    }

    /// Whether it is `{sources}`.
    pub(crate) fn is_sources(&self) -> bool {
        self.0 == [Part::Sources]
    }

    /// The words it stands for: one, or for `{sources}` as many as there are.
    pub(crate) fn expand_into(&self, values: &Values<'_>, words: &mut Vec<String>) {
        if self.is_sources() {
            words.extend(values.sources.iter().map(|name| as_operand(name)));
        } else {
            words.push(self.expand(values));
        }
    }

    /// The one word it stands for; `{sources}` gives the empty word here.
    pub(crate) fn expand(&self, values: &Values<'_>) -> String {
        let mut word = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => word.push_str(text),
                Part::Tool(name) => {
                    if let Some((_, path)) = values.tools.iter().find(|(tool, _)| tool == name) {
                        word.push_str(&path.to_string_lossy());
                    }
                }
                Part::Value(Value::Source) => word.push_str(values.source),
                Part::Value(Value::Class) => word.push_str(values.class),
                Part::Value(Value::MainClass) => word.push_str(values.main_class),
                Part::Value(Value::MemoryMb) => word.push_str(&values.memory_mb.to_string()),
                Part::Value(Value::HeapMb) => word.push_str(&values.heap_mb.to_string()),
                Part::Sources => {}
            }
        }
        word
    }
}

fn placeholder(name: &str, tools: &[&str]) -> Result<Part, String> {
    Ok(match name {
        "source" => Part::Value(Value::Source),
        "sources" => Part::Sources,
        "class" => Part::Value(Value::Class),
        "main-class" => Part::Value(Value::MainClass),
        "memory-mb" => Part::Value(Value::MemoryMb),
        "heap-mb" => Part::Value(Value::HeapMb),
        tool if tools.contains(&tool) => Part::Tool(tool.to_owned()),
        other => return Err(format!("unknown placeholder {{{other}}}")),
    })
}

/// A file name that no tool can take for an option (`-x`) or a list of arguments (`@x`).
fn as_operand(name: &str) -> String {
    if name.starts_with(['-', '@']) { format!("./{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(text: &str) -> Vec<String> {
        let tools = [("gcc".to_owned(), PathBuf::from("/usr/bin/gcc"))];
        let sources = ["main.c".to_owned(), "-o.c".to_owned()];
        let values = Values {
            source: "main.c",
            sources: &sources,
            class: "A",
            main_class: "p.A",
            memory_mb: 256,
            heap_mb: 192,
            tools: &tools,
        };
        let mut words = Vec::new();
        Template::parse(text, &["gcc"]).unwrap().expand_into(&values, &mut words);
        words
    }

    #[test]
    fn placeholders_become_their_values() {
        assert_eq!(expand("{gcc}"), ["/usr/bin/gcc"]);
        assert_eq!(expand("-Xmx{heap-mb}m of {memory-mb}"), ["-Xmx192m of 256"]);
        assert_eq!(expand("{class}.java {main-class}"), ["A.java p.A"]);
        assert_eq!(expand("{sources}"), ["main.c", "./-o.c"]);
        assert_eq!(expand("a{{source}}b"), ["a{source}b"]);
        assert_eq!(expand(""), [""]);
    }

    #[test]
    fn mistakes_are_found_when_parsed() {
        for bad in ["{clang}", "{", "a{source", "}", "x}", "{sources}x", "{}", "a\0b"] {
            assert!(Template::parse(bad, &["gcc"]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_program_is_a_tool_or_a_path() {
        for (text, is) in [("{gcc}", true), ("/bin/sh", true), ("./main", true), ("main", false), ("{source}", false)] {
            assert_eq!(Template::parse(text, &["gcc"]).unwrap().starts_program(), is, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_errs(text in ".*") {
            let _ = Template::parse(&text, &["gcc"]);
        }

        #[test]
        fn doubled_braces_are_the_text(text in "[a-z{} ]*") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(Template::parse(&escaped, &[]).unwrap().expand(&Values::default()), text);
        }
    }
}
