//! Installs the peers' packages into the target folder, once for each version of the manifests.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::Peers;

/// Node's first release line on which the client packages run.
const NODE_AT_LEAST: (u32, u32) = (20, 0);
/// Python's first release on which `mcp` 2 installs.
const PYTHON_AT_LEAST: (u32, u32) = (3, 11);

/// The everything-server is only in the source distribution of PyPI `mcp`.
const EVERYTHING_SERVER: &str = "*/examples/servers/everything-server/mcp_everything_server";
/// And so is the client that the conformance suite drives.
const CONFORMANCE_CLIENT: &str = "*/.github/actions/conformance/client.py";

/// A `package.json` and its lock.
struct NodeManifest {
    package: &'static str,
    lock: &'static str,
}

/// The clients and the server that the machine's own Node runs.
const CLIENTS: NodeManifest =
    NodeManifest { package: include_str!("../../peers/package.json"), lock: include_str!("../../peers/package-lock.json") };

/// The conformance suite and the Node that it runs on: it needs Node 22. The packages with the binaries are named themselves, because
/// the package `node` fetches one of them by a script, and the scripts of packages are not run here.
const SUITE: NodeManifest = NodeManifest {
    package: include_str!("../../peers/conformance/package.json"),
    lock: include_str!("../../peers/conformance/package-lock.json"),
};

/// One version of PyPI `mcp`.
struct PythonManifest {
    sdk: &'static str,
    requirements: &'static str,
}

/// Both eras.
const PYTHON: PythonManifest = PythonManifest { sdk: "mcp==2.3.0", requirements: include_str!("../../peers/requirements.txt") };

/// The line that still has HTTP+SSE as its own transport on both sides.
const PYTHON_V1: PythonManifest = PythonManifest { sdk: "mcp==1.30.0", requirements: include_str!("../../peers/requirements-v1.txt") };

/// Scripts are written on every call: they are ours and change more often than the packages do.
/// They live beside `node_modules` because that is where Node looks for imports.
const SCRIPTS: [(&str, &str); 10] = [
    ("client.mjs", include_str!("../../peers/client.mjs")),
    ("client.py", include_str!("../../peers/client.py")),
    ("client_v1.py", include_str!("../../peers/client_v1.py")),
    ("clients.py", include_str!("../../peers/clients.py")),
    ("loopback.mjs", include_str!("../../peers/loopback.mjs")),
    ("traced.py", include_str!("../../peers/traced.py")),
    ("unprobed.mjs", include_str!("../../peers/unprobed.mjs")),
    ("plans/everything-typescript.json", include_str!("../../peers/plans/everything-typescript.json")),
    ("plans/everything-python.json", include_str!("../../peers/plans/everything-python.json")),
    ("plans/sse-python.json", include_str!("../../peers/plans/sse-python.json")),
];

/// Installs what is missing into `TARGET_DIR/peers` and nowhere else. Calls from several processes
/// wait for one another; when all is there, a call costs a few file reads.
///
/// # Errors
/// When Node or Python is missing or too old (the message says which tests need it), or a package
/// cannot be installed.
pub fn install(target_dir: &Path) -> Result<Peers> {
    let root = target_dir.join("peers");
    let peers =
        Peers { node: root.join("node"), suite: root.join("conformance"), python: root.join("python"), python_v1: root.join("python-v1") };
    fs::create_dir_all(peers.node.join("plans"))?;
    for directory in [&peers.suite, &peers.python, &peers.python_v1] {
        fs::create_dir_all(directory)?;
    }
    let lock = File::create(root.join("lock"))?;
    lock.lock().context("waiting for another installation of the peers")?;

    let node = runtime("node", &["--version"], NODE_AT_LEAST)?;
    let python = runtime("python3", &["--version"], PYTHON_AT_LEAST)?;
    once(&peers.node, &[&node, CLIENTS.package, CLIENTS.lock], |directory| install_node(directory, &CLIENTS))?;
    for (directory, manifest) in [(&peers.python, &PYTHON), (&peers.python_v1, &PYTHON_V1)] {
        once(directory, &[&python, manifest.sdk, manifest.requirements], |directory| install_python(directory, manifest))?;
    }
    once(&peers.suite, &[&node, SUITE.package, SUITE.lock, PYTHON.sdk, CONFORMANCE_CLIENT], |directory| {
        install_node(directory, &SUITE)?;
        unpack(&peers.python, CONFORMANCE_CLIENT, directory)
    })?;
    for (name, text) in SCRIPTS {
        write_if_different(&peers.node.join(name), text)?;
    }
    Ok(peers)
}

/// The version that a runtime prints, once it is known to be new enough.
fn runtime(program: &str, arguments: &[&str], at_least: (u32, u32)) -> Result<String> {
    let (major, minor) = at_least;
    let needed = format!("the tests with real MCP peers (module peers) cannot run: they need {program} {major}.{minor} or newer on PATH");
    let output = Command::new(program).args(arguments).output().with_context(|| needed.clone())?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = version.trim_start_matches(|c: char| !c.is_ascii_digit()).split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(found_major)), Some(Ok(found_minor))) if (found_major, found_minor) >= at_least => Ok(version),
        _ => bail!("{needed}; found {version:?}"),
    }
}

/// Runs `install` unless the stamp in `directory` says that it was done with the same inputs.
fn once(directory: &Path, inputs: &[&str], install: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    let wanted = format!("{:016x}", hasher.finish());
    let stamp = directory.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    // Removed first and written last, so that an installation that was cut off is done again.
    match fs::remove_file(&stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    install(directory)?;
    Ok(fs::write(&stamp, wanted)?)
}

fn install_node(directory: &Path, manifest: &NodeManifest) -> Result<()> {
    fs::write(directory.join("package.json"), manifest.package)?;
    fs::write(directory.join("package-lock.json"), manifest.lock)?;
    run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(directory))
}

fn install_python(directory: &Path, manifest: &PythonManifest) -> Result<()> {
    fs::write(directory.join("requirements.txt"), manifest.requirements)?;
    run(Command::new("python3").args(["-m", "venv", "--clear", "venv"]).current_dir(directory))?;
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(directory.join("venv/bin/python"));
        run(command.args(["-m", "pip", "--disable-pip-version-check"]).args(arguments).current_dir(directory))
    };
    pip(&["install", "--quiet", "--requirement", "requirements.txt"])?;
    // Asking pip for the source makes it prepare the metadata, hence the two build packages among the requirements.
    let source = directory.join("source");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    fs::create_dir(&source)?;
    let options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--dest", "source"];
    pip(&[&["download"], options.as_slice(), &[manifest.sdk]].concat())?;
    unpack(directory, EVERYTHING_SERVER, directory)
}

/// Unpacks what matches `pattern`, without the folders above it, from the source distribution that was downloaded into `python`.
fn unpack(python: &Path, pattern: &str, directory: &Path) -> Result<()> {
    let archive = fs::read_dir(python.join("source"))?.next().context("pip downloaded nothing")??.path();
    let above = pattern.matches('/').count();
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).arg(format!("--strip-components={above}")).args(["--wildcards", pattern]);
    // It fails when nothing matches.
    run(tar.current_dir(directory))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({})\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Replaces the file in one step: a client of another test process may be reading it.
fn write_if_different(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    Ok(fs::rename(&new, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(program: &str, argument: &str, at_least: (u32, u32), says: &[&str]) {
        let message = format!("{:#}", runtime(program, &[argument], at_least).unwrap_err());
        for words in says.iter().chain(&["module peers", program]) {
            assert!(message.contains(words), "{words} is not in: {message}");
        }
    }

    #[test]
    fn a_missing_or_old_runtime_is_named_with_the_tests_that_need_it() {
        check_refused("no-such-runtime", "--version", (1, 0), &["1.0 or newer"]);
        check_refused("echo", "v19.9.0", (20, 0), &["20.0 or newer", "found \"v19.9.0\""]);
        check_refused("echo", "Python 3.9.1", (3, 11), &["3.11 or newer", "found \"Python 3.9.1\""]);
        check_refused("echo", "no version", (1, 0), &["found \"no version\""]);
        assert_eq!(runtime("echo", &["Python 3.11.7"], (3, 11)).unwrap(), "Python 3.11.7");
    }

    #[test]
    fn what_is_installed_is_installed_once_for_its_inputs() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let calls = || fs::read_to_string(&log).unwrap_or_default().len();
        let note = |directory: &Path| {
            let log = directory.join("log");
            Ok(fs::write(&log, fs::read_to_string(&log).unwrap_or_default() + ".")?)
        };
        for (inputs, expected) in [(["a"], 1), (["a"], 1), (["b"], 2), (["a"], 3)] {
            once(directory.path(), &inputs, note).unwrap();
            assert_eq!(calls(), expected, "{inputs:?}");
        }
        let fails = |_: &Path| bail!("cut off");
        once(directory.path(), &["c"], fails).unwrap_err();
        once(directory.path(), &["a"], note).unwrap();
        assert_eq!(calls(), 4, "an installation that failed leaves no stamp behind");
    }
}
