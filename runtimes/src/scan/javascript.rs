//! Whether a JavaScript source is an ES module.
//!
//! It is one when it has a static `import`, an `export` or `import.meta`, none of which a script can have.
//! A top-level `await` makes it one too, unless it uses what only CommonJS has: `node` would refuse it
//! either way, so a module is the better guess. Comments, strings, templates and regular expressions are
//! skipped.

use super::words::{Cursor, is_word};

/// How far the end of a regular expression is looked for: keeps hostile text from costing quadratic time.
const REGEX_CHARS_MAX: usize = 2_000;

/// Whether the source must be run as a module.
pub(crate) fn is_module(source: &str) -> bool {
    let mut scan = Scan { cursor: Cursor::new(source), ..Scan::default() };
    if scan.cursor.eat("#!") {
        scan.cursor.skip_line();
    }
    scan.run();
    scan.module || (scan.awaits && !scan.common_js)
}

/// What stands before a token, as far as it decides what a `/` or a word means there.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Before {
    /// A statement may start here.
    #[default]
    Start,
    /// A value: `/` divides.
    Value,
    /// Anything after which a value follows: `/` starts a regular expression.
    Operator,
    /// `.`: the next word is a property.
    Dot,
}

struct Scan<'a> {
    cursor: Cursor<'a>,
    before: Before,
    /// Open brackets; `` ` `` stands for a `${` in a template.
    open: Vec<char>,
    /// An arrow was seen in this top-level statement: what awaits behind it may be its body.
    arrow: bool,
    module: bool,
    awaits: bool,
    common_js: bool,
}

impl Default for Scan<'_> {
    fn default() -> Self {
        Self {
            cursor: Cursor::new(""),
            before: Before::Start,
            open: Vec::new(),
            arrow: false,
            module: false,
            awaits: false,
            common_js: false,
        }
    }
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(c) = self.cursor.peek() {
            if self.module {
                return;
            }
            if is_word(c) || c == '#' {
                self.cursor.eat("#");
                let word = self.cursor.word();
                self.word(word);
            } else if self.cursor.eat("//") {
                self.cursor.skip_line();
            } else if self.cursor.eat("/*") {
                self.cursor.skip_past("*/");
            } else if self.cursor.eat("=>") {
                self.arrow = true;
                self.before = Before::Operator;
            } else {
                self.cursor.next();
                self.punct(c);
            }
        }
    }

    fn word(&mut self, word: &str) {
        let top = self.open.is_empty();
        let start = self.before == Before::Start;
        if self.before == Before::Dot {
            self.before = Before::Value;
            return;
        }
        match word {
            "import" => self.module = self.imports(top && start),
            "export" if top && start => self.module = self.exports(),
            "await" if self.at_top() && !self.arrow && self.awaits_something() => self.awaits = true,
            "require" | "module" | "exports" | "__dirname" | "__filename" => self.common_js = true,
            _ => {}
        }
        self.before = match word {
            "return" | "typeof" | "case" | "in" | "of" | "delete" | "void" | "throw" | "new" | "instanceof" | "do"
            | "else" | "await" | "yield" => Before::Operator,
            _ => Before::Value,
        };
    }

    /// Only brackets that hold expressions are open.
    fn at_top(&self) -> bool {
        self.open.iter().all(|open| matches!(open, '(' | '[' | '`'))
    }

    fn imports(&mut self, at_start: bool) -> bool {
        self.skip_blank();
        if self.cursor.peek() == Some('.') {
            self.cursor.next();
            self.skip_blank();
            return self.cursor.rest().starts_with("meta");
        }
        at_start && self.cursor.peek().is_some_and(|c| is_word(c) || matches!(c, '{' | '*' | '"' | '\''))
    }

    fn exports(&mut self) -> bool {
        self.skip_blank();
        let rest = self.cursor.rest();
        let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        rest.starts_with(['{', '*', '@'])
            || matches!(word, "default" | "const" | "let" | "var" | "function" | "async" | "class")
    }

    /// `await` here is the operator, and not a name: an operand follows.
    fn awaits_something(&mut self) -> bool {
        self.skip_blank();
        self.cursor.peek().is_some_and(|c| is_word(c) || matches!(c, '(' | '[' | '{' | '"' | '\'' | '`' | '#'))
    }

    fn skip_blank(&mut self) {
        loop {
            if self.cursor.eat("/*") {
                self.cursor.skip_past("*/");
            } else if self.cursor.eat("//") {
                self.cursor.skip_line();
            } else if self.cursor.peek().is_some_and(char::is_whitespace) {
                self.cursor.next();
            } else {
                return;
            }
        }
    }

    fn punct(&mut self, c: char) {
        match c {
            '"' | '\'' => {
                self.cursor.skip_quoted(c);
                self.before = Before::Value;
            }
            '`' => self.template(),
            '/' if self.before != Before::Value => self.regex(),
            '{' | '(' | '[' => {
                self.open.push(c);
                self.before = if c == '{' { Before::Start } else { Before::Operator };
            }
            '}' if self.open.last() == Some(&'`') => {
                self.open.pop();
                self.template();
            }
            '}' => self.close(Before::Start),
            ')' | ']' => self.close(Before::Value),
            ';' => {
                self.before = Before::Start;
                self.arrow &= !self.open.is_empty();
            }
            '\n' if self.open.is_empty() && self.before != Before::Operator => {
                self.before = Before::Start;
                self.arrow = false;
            }
            '.' => self.before = if self.cursor.eat("..") { Before::Operator } else { Before::Dot },
            c if c.is_whitespace() => {}
            _ => self.before = Before::Operator,
        }
    }

    fn close(&mut self, before: Before) {
        self.open.pop();
        self.before = before;
    }

    /// Steps behind a template's text, or into its next `${`.
    fn template(&mut self) {
        while let Some(c) = self.cursor.next() {
            match c {
                '\\' => {
                    self.cursor.next();
                }
                '`' => break,
                '$' if self.cursor.eat("{") => {
                    self.open.push('`');
                    self.before = Before::Operator;
                    return;
                }
                _ => {}
            }
        }
        self.before = Before::Value;
    }

    /// Steps behind a regular expression; one that does not end on its line was a division.
    fn regex(&mut self) {
        let mut class = false;
        let mut probe = self.cursor;
        for _ in 0..REGEX_CHARS_MAX {
            let Some(c) = probe.next() else { break };
            match c {
                '\\' => {
                    probe.next();
                }
                '\n' => break,
                '[' => class = true,
                ']' => class = false,
                '/' if !class => {
                    self.cursor = probe;
                    self.before = Before::Value;
                    return;
                }
                _ => {}
            }
        }
        self.before = Before::Operator;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modules_are_seen() {
        for source in [
            "import fs from 'fs';",
            "#!/usr/bin/env node\nimport {a} from 'a'",
            "import 'x'",
            "import * as y from \"y\"",
            "let a = 1\nexport default a",
            "let a = 1; export { a }",
            "export const a = 1",
            "export async function f() {}",
            "function f() { return 1 }\nexport class A {}",
            "const re = /[/`'\"]/g\nimport x from 'x'",
            "const t = `a ${b ? `x` : '}'} c`\nimport x from 'x'",
            "/* c */ import /* c */ x from 'x'",
            "console.log(import.meta.url)",
            "const x = await fetch('y')",
            "await Promise.resolve()",
            "for await (const line of lines) {}",
            "console.log(await f())",
            "const f = async () => await g()\nawait f()",
            "const a = b\n/ 2\nimport x from 'x'",
        ] {
            assert!(is_module(source), "{source}");
        }
    }

    #[test]
    fn scripts_are_left_alone() {
        for source in [
            "",
            "console.log('hello')",
            "const fs = require('fs')",
            "import('fs').then(f => f)",
            "const f = await_",
            "// import x from 'x'",
            "/*\nexport default 1\n*/",
            "const s = `\nimport x from 'x'\n`",
            "const s = 'x\\\nexport default 1'",
            "a.import\n.export",
            "async function f() {\n  await g()\n}",
            "const f = async () => await g()",
            "(async () => { await f() })()",
            "const x = require('x'); await x",
            "const o = { export: 1, import: 2 }",
            "module.exports = { await: 1 }",
            "var await = 1; await = 2",
            "x = a / b; y = '/'; // import a from 'a'",
        ] {
            assert!(!is_module(source), "{source}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(source in "[a-z`${}()\"'/*\\\\;. \\n]*|.*") {
            is_module(&source);
        }

        #[test]
        fn what_surrounds_an_import_does_not_matter(
            parts in prop::collection::vec(prop::sample::select(vec![
                "const a = 'it\\'s';\n", "let r = /\\/[`/]/.test(a);\n", "`x${1 + `y${2}`}z`;\n", "// don't `\n",
                "/* ` ' \" */\n", "function f() { return { a: 1 } }\n", "a = b / c / d;\n", "if (a) { b() } else { c() }\n",
            ]), 0..8),
            module in any::<bool>(),
        ) {
            let mut source = parts.concat();
            source.push_str(if module { "import x from 'x';\n" } else { "x('import');\n" });
            source.push_str(&parts.concat());
            prop_assert_eq!(is_module(&source), module);
        }
    }
}
