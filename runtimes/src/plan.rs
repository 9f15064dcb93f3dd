//! From a program's text to files and commands.

use std::collections::HashSet;
use std::path::Path;

use crankcase_sandbox::spec::{COMMAND_BYTES_MAX, FILES_MAX, SourceFile, StageCommand, is_safe_name};

use crate::direct::OBJECT;
use crate::error::PlanError;
use crate::headers;
use crate::manifest::Scan;
use crate::runtime::{Keep, Runtime, Stage, Toolchain};
use crate::scan;
use crate::template::{Template, Values};
use crate::version;
use crate::warm::WarmStage;

/// What is to be run.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The main file's text.
    pub code: &'a str,
    /// Further files of the work directory.
    pub files: &'a [SourceFile],
    /// The program's arguments, appended to the run command.
    pub args: &'a [String],
    /// The run stage's memory limit, bytes; sizes the heap of managed languages.
    pub run_memory_bytes: u64,
    /// The compile stage's memory limit, bytes.
    pub compile_memory_bytes: u64,
}

/// What the sandbox gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// All files of the work directory, the main file first.
    pub files: Vec<SourceFile>,
    /// Compiles, in languages that do.
    pub compile: Option<StageCommand>,
    /// Runs the program.
    pub run: StageCommand,
    /// The file or directory below the work directory that the compile stage makes and the run stage
    /// starts; none for interpreted languages.
    pub artefact: Option<String>,
    /// Whether the program may take a process that was started ahead of need: there is such a thing for the language,
    /// and nothing in the program would show it.
    pub warm: bool,
    /// Written beside `files` for such a process alone; its gate takes them away again.
    pub warm_files: Vec<SourceFile>,
    /// What may be kept of the compile stage's work and brought along instead of it; none when compiling again could
    /// make something else, or makes files whose names are not known beforehand.
    pub kept: Option<Kept>,
}

/// The compile stage's work: with these in the work directory beside the sources, the run stage needs no compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Regular files below the work directory, by name.
    pub files: Vec<String>,
    /// What makes them, as the manifest has it: neither a driver's steps nor headers that were compiled ahead of need make
    /// them any different.
    pub command: StageCommand,
}

/// What every stage's environment starts from.
const ENVIRONMENT: [(&str, &str); 3] =
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8")];

/// The smallest heap that is asked for, MiB: with less, no virtual machine starts at all.
const HEAP_MB_MIN: u64 = 16;

pub(crate) fn make(runtime: &Runtime, request: &Request<'_>) -> Result<Plan, PlanError> {
    let Some(chain) = &runtime.toolchain else {
        return Err(PlanError::NotInstalled { language: runtime.display_name.clone(), hint: runtime.missing_hint() });
    };
    if let Some(index) = request.args.iter().position(|arg| arg.contains('\0')) {
        return Err(PlanError::NulInArgument(index));
    }
    let names = Names::of(runtime, request);
    let sources = sources(runtime, &names.source, request.files);
    let values = Values {
        source: &names.source,
        sources: &sources,
        class: &names.class,
        main_class: &names.main_class,
        memory_mb: 0,
        heap_mb: 0,
        tools: &chain.tools,
    };
    let compile = |stage| compile(runtime, chain, stage, &values, request);
    let (compile, as_written) = chain.compile.as_ref().map(compile).transpose()?.unzip();
    let run = command_of(runtime, &chain.run, &values, request.run_memory_bytes, request.args)?;
    let files = files(chain, &names.source, request)?;
    let keep = chain.keep.as_ref().filter(|keep| keep.applies(&files, request));
    let kept = keep.zip(as_written).map(|(keep, command)| Kept { files: keep.files.clone(), command });
    let order = chain.warm.as_ref().and_then(|warm| warm.order.as_ref());
    let warm_files: Vec<SourceFile> = order.map(|(name, lines)| order_file(name, lines, &values)).into_iter().collect();
    let taken = |order: &SourceFile| files.iter().any(|file| file.name == order.name);
    Ok(Plan {
        warm: chain.warm.as_ref().is_some_and(|warm| warm.suits(request)) && !warm_files.iter().any(taken),
        warm_files,
        files,
        compile,
        run,
        artefact: chain.artefact.clone(),
        kept,
    })
}

/// What is started before the program is known: it has the usual main file, and nothing in it.
pub(crate) fn warm_command(runtime: &Runtime, request: &Request<'_>) -> Option<StageCommand> {
    let chain = runtime.toolchain.as_ref()?;
    let warm = chain.warm.as_ref()?;
    let names = Names::of(runtime, request);
    let sources = [names.source.clone()];
    let values = Values {
        source: &names.source,
        sources: &sources,
        class: &names.class,
        main_class: &names.main_class,
        tools: &chain.tools,
        ..Values::default()
    };
    let (stage, memory_bytes) = match warm.stage {
        WarmStage::Run | WarmStage::Both => (&chain.run, request.run_memory_bytes),
        WarmStage::Compile => (chain.compile.as_ref()?, request.compile_memory_bytes),
    };
    let environment = stage.environment.iter().chain(&warm.environment).cloned().collect();
    let command = warm.command.as_ref().unwrap_or(&stage.command).clone();
    let stage = Stage { command, environment, heap_percent: stage.heap_percent };
    command_of(runtime, &stage, &values, memory_bytes, &[]).ok()
}

fn order_file(name: &str, lines: &[Template], values: &Values<'_>) -> SourceFile {
    let mut words = Vec::new();
    lines.iter().for_each(|line| line.expand_into(values, &mut words));
    SourceFile { name: name.to_owned(), content: (words.join("\n") + "\n").into_bytes(), executable: false }
}

/// The compile command, without the compiler's driver where its steps are known and one file is all there is; then the
/// command as the manifest has it.
fn compile(
    runtime: &Runtime,
    chain: &Toolchain,
    stage: &Stage,
    values: &Values<'_>,
    request: &Request<'_>,
) -> Result<(StageCommand, StageCommand), PlanError> {
    let memory_bytes = request.compile_memory_bytes;
    let driver = command_of(runtime, stage, values, memory_bytes, &[])?;
    let Some((direct, steps)) = chain.direct.as_ref().and_then(|direct| Some((direct, direct.steps.get()?))) else {
        return Ok((driver.clone(), driver));
    };
    if values.sources.len() != 1 || values.source != version::main_file(runtime) {
        return Ok((driver.clone(), driver));
    }
    let object = [OBJECT.to_owned()];
    let link = command_of(runtime, stage, &Values { sources: &object, ..values.clone() }, memory_bytes, &[])?;
    let alone = !runtime.in_image() && request.files.is_empty();
    let first = alone.then(|| headers::of_program(runtime, direct, steps, request.code)).flatten();
    let script = steps.script(direct, &driver.argv, &link.argv, first.as_deref());
    let argv = vec![direct.shell.clone(), "-c".to_owned(), script];
    Ok((StageCommand { argv, env: driver.env.clone() }, driver))
}

impl Keep {
    fn applies(&self, files: &[SourceFile], request: &Request<'_>) -> bool {
        let holds = |file: &SourceFile, word: &str| memchr::memmem::find(&file.content, word.as_bytes()).is_some();
        (!self.single_file || request.files.is_empty())
            && !files.iter().any(|file| self.unless.iter().any(|word| holds(file, word)))
    }
}

/// What the main file's text decides.
struct Names {
    source: String,
    class: String,
    main_class: String,
}

impl Names {
    fn of(runtime: &Runtime, request: &Request<'_>) -> Self {
        let source = &runtime.source;
        let (mut class, mut main_class) = (String::new(), String::new());
        if source.scan == Scan::Java {
            let names = scan::java_names(request.code);
            main_class = names.main_class;
            if !names.has_main
                && let Some(other) = main_elsewhere(request.files)
            {
                main_class = other;
            }
            class = names.file;
        }
        let module = source
            .module_file
            .as_ref()
            .filter(|_| source.scan == Scan::JavascriptModule && scan::is_module(request.code));
        let values = Values { class: &class, main_class: &main_class, ..Values::default() };
        let file = module.unwrap_or(&source.file).expand(&values);
        Self { source: file, class, main_class }
    }
}

/// The class with `main` of the first further Java file that has one.
fn main_elsewhere(files: &[SourceFile]) -> Option<String> {
    files
        .iter()
        .filter(|file| file.name.ends_with(".java"))
        .filter_map(|file| std::str::from_utf8(&file.content).ok())
        .map(scan::java_names)
        .find(|names| names.has_main)
        .map(|names| names.main_class)
}

/// The main file and the further ones that the compiler wants named.
fn sources(runtime: &Runtime, main: &str, files: &[SourceFile]) -> Vec<String> {
    let source = &runtime.source;
    let wanted = |name: &&str| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        (source.nested || !name.contains('/')) && extension.is_some_and(|e| source.extensions.iter().any(|x| x == e))
    };
    let further = files.iter().map(|file| file.name.as_str()).filter(wanted);
    std::iter::once(main).chain(further).map(str::to_owned).collect()
}

fn files(chain: &Toolchain, main: &str, request: &Request<'_>) -> Result<Vec<SourceFile>, PlanError> {
    let own = chain.files.iter().map(|(name, content)| SourceFile {
        name: name.clone(),
        content: content.clone().into_bytes(),
        executable: false,
    });
    let main = SourceFile { name: main.to_owned(), content: request.code.as_bytes().to_vec(), executable: false };
    let files: Vec<SourceFile> = std::iter::once(main).chain(own).chain(request.files.iter().cloned()).collect();
    if files.len() > FILES_MAX {
        return Err(PlanError::TooManyFiles(files.len()));
    }
    check_names(&files, chain.artefact.as_deref())?;
    Ok(files)
}

/// No name leaves the work directory, none is there twice, none is a directory of another or the artefact.
fn check_names(files: &[SourceFile], artefact: Option<&str>) -> Result<(), PlanError> {
    let mut names: HashSet<&str> = artefact.into_iter().collect();
    let mut directories: HashSet<&str> = HashSet::new();
    for file in files {
        let name = file.name.as_str();
        if !is_safe_name(name) {
            return Err(PlanError::UnsafeName(name.to_owned()));
        }
        if !names.insert(name) {
            return Err(PlanError::NameTaken(name.to_owned()));
        }
        directories.extend(name.match_indices('/').map(|(at, _)| &name[..at]));
    }
    match names.intersection(&directories).next() {
        Some(name) => Err(PlanError::NameTaken((*name).to_owned())),
        None => Ok(()),
    }
}

fn command_of(
    runtime: &Runtime,
    stage: &Stage,
    values: &Values<'_>,
    memory_bytes: u64,
    args: &[String],
) -> Result<StageCommand, PlanError> {
    let memory_mb = memory_bytes >> 20;
    let heap_mb = (memory_mb.saturating_mul(stage.heap_percent) / 100).max(HEAP_MB_MIN);
    let values = Values { memory_mb, heap_mb, ..values.clone() };
    let mut argv = Vec::new();
    for word in &stage.command {
        word.expand_into(&values, &mut argv);
    }
    argv.extend(args.iter().cloned());
    let mut env: Vec<(String, String)> =
        ENVIRONMENT.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    for (key, value) in runtime.environment.iter().chain(&stage.environment) {
        let value = value.expand(&values);
        match env.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1 = value,
            None => env.push((key.clone(), value)),
        }
    }
    let bytes = argv.iter().map(|word| word.len() + 1).sum::<usize>()
        + env.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    if bytes > COMMAND_BYTES_MAX {
        return Err(PlanError::CommandTooLong(bytes));
    }
    Ok(StageCommand { argv, env })
}
