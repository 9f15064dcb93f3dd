//! A C compiler without its driver: what `gcc -###` says it would start, started by a few lines of shell instead.
//!
//! The driver starts four processes (itself, the compiler proper, the assembler, `collect2`, which starts the linker) and
//! the linker loads a plugin for link-time optimisation. Compiler, assembler and gold alone make the same program of a
//! C hello in 0.78 of the time that `gcc` needs.
//!
//! **Invariant.** Whatever is not a plain success is the driver's: a compiler that crashes, and a linker that has anything
//! at all to say, are followed by the driver doing it again, so that messages and status are its own.

use std::fmt::Write as _;

use crate::runtime::Direct;

/// Where the work in between lies; it is removed before the program runs.
const ASSEMBLY: &str = "/tmp/main.s";
pub(crate) const OBJECT: &str = "/tmp/main.o";
const COMPLAINTS: &str = "/tmp/main.ld";

/// What the driver would start for one source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steps {
    compile: Vec<String>,
    /// Where in it the source stands.
    source: usize,
    assemble: Vec<String>,
    link: Vec<String>,
}

impl Steps {
    /// Reads the answer of a driver that was asked with `-###` and `-pipe` about `source`; none when it is not what
    /// is expected of it, in any way.
    pub(crate) fn read(answer: &str, source: &str, assembler: &str, linker: &str) -> Option<Self> {
        let lines: Vec<Vec<String>> =
            answer.lines().filter(|line| line.starts_with(' ')).map(words).collect::<Option<_>>()?;
        let [mut compile, mut assemble, mut link]: [Vec<String>; 3] = lines.try_into().ok()?;
        let program = |words: &[String]| words.first().and_then(|word| word.rsplit('/').next()).map(str::to_owned);
        if !program(&compile)?.starts_with("cc1") || program(&assemble)? != "as" || program(&link)? != "collect2" {
            return None;
        }
        if compile.pop()? != "|" {
            return None;
        }
        // It also stands behind options that say how to name further output.
        let source = compile.iter().position(|word| word == source)?;
        if replace_output(&mut compile, ASSEMBLY)? != "-" {
            return None;
        }
        let object = replace_output(&mut assemble, OBJECT)?;
        assembler.clone_into(&mut assemble[0]);
        linker.clone_into(&mut link[0]);
        if let Some(at) = link.iter().position(|word| word == "-plugin") {
            link.drain(at..(at + 2).min(link.len()));
        }
        link.retain(|word| !word.starts_with("-plugin-opt="));
        let mut objects = link.iter_mut().filter(|word| **word == object);
        OBJECT.clone_into(objects.next()?);
        objects.next().is_none().then_some(())?;
        Some(Self { compile, source, assemble, link })
    }

    /// What the compiler itself is told, as one text.
    pub(crate) fn signature(&self) -> String {
        self.compile.join("\0")
    }

    /// Compiles a header ahead of need: `source` includes it and nothing else.
    pub(crate) fn precompile(&self, source: &str, assembly: &str, precompiled: &str) -> Vec<String> {
        let mut words = self.compile.clone();
        source.clone_into(&mut words[self.source]);
        let _ = replace_output(&mut words, assembly);
        words.push(format!("--output-pch={precompiled}"));
        words
    }

    /// The lines of shell. `driver` does all of it, `driver_link` its last step with [`OBJECT`] in the source's place.
    /// `first` is a file to include first whose precompiled form (`.gch`) may be there. With it messages read differently
    /// (where one names a place in a header, it no longer says which line included that), so a compiler that says
    /// anything at all, or does not succeed, is started again without it.
    pub(crate) fn script(
        &self,
        direct: &Direct,
        driver: &[String],
        driver_link: &[String],
        first: Option<&str>,
    ) -> String {
        let remove = quoted(&[direct.remove.clone(), "-f".into(), ASSEMBLY.into(), OBJECT.into(), COMPLAINTS.into()]);
        let mut script = String::new();
        if let Some(first) = first {
            let mut compile = self.compile.clone();
            compile.splice(1..1, ["-include".to_owned(), first.to_owned()]);
            let (file, compile) = (quoted(&[format!("{first}.gch")]), quoted(&compile));
            let _ = write!(script, "{{ [ -r {file} ] && {compile} 2>{COMPLAINTS} && [ ! -s {COMPLAINTS} ]; }} || ");
        }
        let _ = write!(
            script,
            "{compile}
case $? in
    0) ;;
    1) exit 1 ;;
    *) exec {driver} ;;
esac
{assemble} <{ASSEMBLY} || exit 1
if {link} 2>{COMPLAINTS} && [ ! -s {COMPLAINTS} ]; then exec {remove}; fi
{driver_link}
status=$?
{remove}
exit $status
",
            compile = quoted(&self.compile),
            assemble = quoted(&self.assemble),
            link = quoted(&self.link),
            driver = quoted(driver),
            driver_link = quoted(driver_link),
        );
        script
    }
}

/// Puts another file behind the one `-o`; gives the one that stood there.
fn replace_output(words: &mut [String], file: &str) -> Option<String> {
    let at = words.iter().position(|word| word == "-o")?;
    let old = words.get_mut(at + 1)?;
    Some(std::mem::replace(old, file.to_owned()))
}

/// The words of a line of `-###`: apart by blanks, those with unusual characters in double quotes.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut in_quotes = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => {
                in_quotes = !in_quotes;
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            ' ' if !in_quotes => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    (!in_quotes && !words.is_empty()).then_some(words)
}

/// Words of a shell's command, each taken literally.
fn quoted(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"Using built-in specs.
Target: x86_64-linux-gnu
COLLECT_GCC_OPTIONS='-O2' '-pipe'
 /usr/lib/gcc/x/12/cc1 -quiet -imultiarch x main.c -dumpbase main.c "-mtune=generic" -O2 "-std=gnu17" -o - |
 as --64 -o /tmp/cc2Mm6iZ.o
COLLECT_GCC_OPTIONS='-O2' '-pipe'
 /usr/lib/gcc/x/12/collect2 -plugin /usr/lib/x/lto.so "-plugin-opt=-fresolution=/tmp/cc.res" --build-id "--hash-style=gnu" -pie -o main /usr/lib/Scrt1.o "-L/a \"b\"" /tmp/cc2Mm6iZ.o -lm -lc
COLLECT_GCC_OPTIONS='-O2' '-pipe'
"#;

    fn read(answer: &str) -> Option<Steps> {
        Steps::read(answer, "main.c", "/usr/bin/as", "/usr/bin/ld.gold")
    }

    #[test]
    fn the_drivers_steps_are_taken_over() {
        let steps = read(ANSWER).unwrap();
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            steps.compile,
            words(
                "/usr/lib/gcc/x/12/cc1 -quiet -imultiarch x main.c -dumpbase main.c -mtune=generic -O2 -std=gnu17 -o /tmp/main.s"
            )
        );
        assert_eq!(steps.assemble, words("/usr/bin/as --64 -o /tmp/main.o"));
        let mut link = words("/usr/bin/ld.gold --build-id --hash-style=gnu -pie -o main /usr/lib/Scrt1.o");
        link.extend(["-L/a \"b\"", OBJECT, "-lm", "-lc"].map(str::to_owned));
        assert_eq!(steps.link, link);
    }

    #[test]
    fn anything_unexpected_leaves_it_to_the_driver() {
        for (from, to) in [
            (" as --64", " as2 --64"),
            ("/cc1 ", "/clang "),
            ("main.c", "other.c"),
            (" -o - |", " -o /tmp/x.s"),
            (" -o -", ""),
            ("/tmp/cc2Mm6iZ.o -lm", "-lm"),
            ("-lc", "/tmp/cc2Mm6iZ.o"),
            ("collect2", "ld64"),
            (" as --64 -o /tmp/cc2Mm6iZ.o\n", ""),
            ("\"-L/a", "-L/a"),
        ] {
            assert_eq!(read(&ANSWER.replace(from, to)), None, "{from} {to}");
        }
        assert_eq!(read(""), None);
    }

    #[test]
    fn words_are_literal_to_the_shell() {
        assert_eq!(quoted(&["a b".into(), "it's".into(), "$x`y`".into()]), r"'a b' 'it'\''s' '$x`y`'");
    }
}
