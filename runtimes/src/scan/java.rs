//! Which class a Java source wants started, and what its file must be called.
//!
//! `javac` demands that a public top-level type lives in a file of its name, and `java` wants the qualified
//! name of the class with `main`. Comments, strings, character literals and text blocks are skipped; only
//! top-level types and their direct members are looked at.

use super::words::{Cursor, is_word};

/// The names that a source asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JavaNames {
    /// The file's name without `.java`.
    pub(crate) file: String,
    /// The qualified class to start.
    pub(crate) main_class: String,
    /// Whether `main_class` has a `main`, and is no mere guess.
    pub(crate) has_main: bool,
}

/// The longest class name that is taken over; a longer one would not fit a file name.
const NAME_BYTES_MAX: usize = 200;
/// The name when the source gives none.
const FALLBACK: &str = "Main";

/// Reads the names out of a source.
pub(crate) fn java_names(source: &str) -> JavaNames {
    let mut scan = Scan::default();
    let mut cursor = Cursor::new(source);
    while let Some(token) = next_token(&mut cursor) {
        scan.take(token);
    }
    scan.names()
}

/// How surely a member is the program's entry; larger wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    #[default]
    None,
    /// `void main()` of an instance (Java 25).
    Instance,
    /// `static void main`.
    Static,
}

#[derive(Debug, Default)]
struct Type {
    name: String,
    public: bool,
    entry: Entry,
}

#[derive(Clone, Copy)]
enum Token<'a> {
    Word(&'a str),
    Punct(char),
}

#[derive(Default)]
struct Scan<'a> {
    package: String,
    in_package: bool,
    types: Vec<Type>,
    /// `main` outside of any class (a compact source file, Java 25).
    bare_main: bool,
    braces: usize,
    parens: usize,
    /// The words since the last `;`, `{` or `}`, as far as they matter.
    public: bool,
    is_static: bool,
    /// The two words before this token.
    before: [Option<&'a str>; 2],
    /// A header `class X ...` was read and its body has not begun.
    header: bool,
}

impl<'a> Scan<'a> {
    fn take(&mut self, token: Token<'a>) {
        match token {
            Token::Word(word) => self.word(word),
            Token::Punct(punct) => self.punct(punct),
        }
    }

    fn word(&mut self, word: &'a str) {
        if self.in_package {
            self.package.push_str(word);
            return;
        }
        let outside = self.braces == 0 && self.parens == 0;
        match word {
            "package" if outside && self.types.is_empty() && self.package.is_empty() => self.in_package = true,
            "public" => self.public = true,
            "static" => self.is_static = true,
            name if outside && !self.header && self.declares(name) => {
                self.types.push(Type { name: name.to_owned(), public: self.public, entry: Entry::None });
                self.header = true;
            }
            _ => {}
        }
        self.before = [self.before[1], Some(word)];
    }

    /// Whether `name` follows a word that declares a type.
    fn declares(&self, name: &str) -> bool {
        matches!(self.before[1], Some("class" | "interface" | "enum" | "record"))
            && name.starts_with(|c: char| !c.is_numeric())
            && name.len() <= NAME_BYTES_MAX
    }

    fn punct(&mut self, punct: char) {
        if self.in_package {
            match punct {
                '.' => self.package.push('.'),
                _ => self.in_package = false,
            }
        }
        match punct {
            '(' => {
                if self.parens == 0 && self.before == [Some("void"), Some("main")] {
                    self.entry();
                }
                self.parens += 1;
            }
            ')' => self.parens = self.parens.saturating_sub(1),
            '{' if self.parens == 0 => {
                self.braces += 1;
                self.statement();
            }
            '}' if self.parens == 0 => {
                self.braces = self.braces.saturating_sub(1);
                if self.braces == 0 {
                    self.header = false;
                }
                self.statement();
            }
            ';' if self.parens == 0 => self.statement(),
            _ => {}
        }
        self.before = [None, None];
    }

    const fn statement(&mut self) {
        self.public = false;
        self.is_static = false;
    }

    fn entry(&mut self) {
        let entry = if self.is_static { Entry::Static } else { Entry::Instance };
        match (self.braces, self.types.last_mut()) {
            (1, Some(last)) if self.header => last.entry = last.entry.max(entry),
            (0, _) => self.bare_main = true,
            _ => {}
        }
    }

    fn names(self) -> JavaNames {
        let best = self.types.iter().map(|t| t.entry).max().unwrap_or_default();
        let public = self.types.iter().find(|t| t.public);
        let main = (best > Entry::None)
            .then(|| public.filter(|t| t.entry == best).or_else(|| self.types.iter().find(|t| t.entry == best)))
            .flatten();
        if main.is_none() && self.bare_main {
            return JavaNames { file: FALLBACK.into(), main_class: FALLBACK.into(), has_main: true };
        }
        let first = self.types.first();
        let file = public.or(main).or(first).map_or(FALLBACK, |t| &t.name);
        let class = main.or(public).or(first).map_or(FALLBACK, |t| &t.name);
        let package = if self.package.len() <= NAME_BYTES_MAX { self.package.trim_matches('.') } else { "" };
        let main_class = if package.is_empty() { class.to_owned() } else { format!("{package}.{class}") };
        JavaNames { file: file.to_owned(), main_class, has_main: main.is_some() }
    }
}

/// The next word or punctuation that is not inside a comment or a literal.
fn next_token<'a>(cursor: &mut Cursor<'a>) -> Option<Token<'a>> {
    loop {
        let c = cursor.peek()?;
        if is_word(c) {
            return Some(Token::Word(cursor.word()));
        } else if cursor.eat("//") {
            cursor.skip_line();
        } else if cursor.eat("/*") {
            cursor.skip_past("*/");
        } else if cursor.eat("\"\"\"") {
            skip_text_block(cursor);
        } else {
            cursor.next();
            match c {
                '"' | '\'' => cursor.skip_quoted(c),
                c if c.is_whitespace() => {}
                c => return Some(Token::Punct(c)),
            }
        }
    }
}

fn skip_text_block(cursor: &mut Cursor<'_>) {
    while cursor.peek().is_some() && !cursor.eat("\"\"\"") {
        if cursor.next() == Some('\\') {
            cursor.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(source: &str) -> (String, String) {
        let names = java_names(source);
        (names.file, names.main_class)
    }

    #[track_caller]
    fn expect(source: &str, file: &str, main: &str) {
        assert_eq!(names(source), (file.to_owned(), main.to_owned()), "{source}");
    }

    const MAIN: &str = "public static void main(String[] args) {}";

    #[test]
    fn the_public_class_names_the_file() {
        expect(&format!("public class Main {{ {MAIN} }}"), "Main", "Main");
        expect(&format!("public final class Überraschung {{ {MAIN} }}"), "Überraschung", "Überraschung");
        expect(&format!("class A {{}} public class B {{ {MAIN} }} class C {{}}"), "B", "B");
        expect(&format!("@Deprecated(since = \"{{\") public strictfp class S<T extends X> {{ {MAIN} }}"), "S", "S");
        expect(&format!("public record P(int x) {{ {MAIN} }}"), "P", "P");
        expect(&format!("public enum E {{ X {{ void f() {{}} }}; {MAIN} }}"), "E", "E");
        expect("public interface I { static void main(String... a) {} }", "I", "I");
        expect("public sealed interface I permits J { static void main(String[] a) {} }", "I", "I");
    }

    #[test]
    fn the_class_with_main_is_started() {
        expect(&format!("class Other {{}} class App {{ {MAIN} }}"), "App", "App");
        expect(&format!("public class Lib {{}} class App {{ {MAIN} }}"), "Lib", "App");
        expect(&format!("class First {{ {MAIN} }} public class Second {{ {MAIN} }}"), "Second", "Second");
        expect(&format!("class Outer {{ static class In {{ {MAIN} }} }} class Real {{ {MAIN} }}"), "Real", "Real");
        expect("class A { final static public void main(final String[] a) throws Exception {} }", "A", "A");
    }

    #[test]
    fn packages_qualify_the_class_only() {
        expect(&format!("package a.b . c; import x.Y; public class Q {{ {MAIN} }}"), "Q", "a.b.c.Q");
        expect(&format!("/* package no; */ // package no\nclass Q {{ {MAIN} }}"), "Q", "Q");
    }

    #[test]
    fn comments_and_literals_do_not_count() {
        expect(&format!("// public class No {{\n/* public class No2 {{ */ class Yes {{ {MAIN} }}"), "Yes", "Yes");
        expect(
            &format!(
                "class T {{ String s = \"}} class X {{\"; char c = '\\''; char d = '\"'; char e = '{{'; {MAIN} }}"
            ),
            "T",
            "T",
        );
        expect(
            &format!("class T {{ String s = \"\"\"\n }} \\\"\"\" public class X {{ {MAIN} \"\"\"; {MAIN} }}"),
            "T",
            "T",
        );
        expect(&format!("class K {{ Class<?> k = String.class; {MAIN} }} class L {{}}"), "K", "K");
    }

    #[test]
    fn newer_java_and_no_java_fall_back() {
        expect("void main() { IO.println(1); }", "Main", "Main");
        expect("record P(int x) {} void main() { }", "Main", "Main");
        expect("class Inst { void main() {} }", "Inst", "Inst");
        expect("class Inst { void main() {} } class S { static void main(String[] a) {} }", "S", "S");
        expect("class Broken { void f( {", "Broken", "Broken");
        expect("", "Main", "Main");
        expect("print('hello')", "Main", "Main");
        expect(&format!("class {} {{}}", "x".repeat(300)), "Main", "Main");
    }

    proptest! {
        #[test]
        fn any_text_gives_usable_names(source in "[a-z{}()\"'/*\\\\;. \\n]*|.*") {
            let names = java_names(&source);
            let file = names.file + ".java";
            prop_assert!(crankcase_sandbox::spec::is_safe_name(&file));
            prop_assert!(names.main_class.chars().all(|c| is_word(c) || c == '.'));
        }

        #[test]
        fn decoys_never_change_the_answer(
            name in "[A-Z][A-Za-z0-9_]{0,12}",
            decoys in prop::collection::vec(prop::sample::select(vec![
                "// public class No { \n", "/* class No { ' \" */", "@Anno({1, 2})\n", "@Anno(\"class No {\")\n", ";",
                "/** public static void main( */",
            ]), 0..6),
            body in prop::collection::vec(prop::sample::select(vec![
                "int x = 1;", "String s = \"public class No { \\\" }\";", "char c = '{';", "char d = '\\\\';",
                "static class In { public static void main(String[] a) {} }", "/* } */", "// }\n", "{ }",
                "String t = \"\"\"\n class No { } } \"\"\";", "Runnable r = () -> { class Loc {} };",
            ]), 0..6),
        ) {
            let source = format!("{} public class {name} {{ {} {MAIN} }} {0}", decoys.concat(), body.concat());
            prop_assert_eq!(names(&source), (name.clone(), name));
        }
    }
}
