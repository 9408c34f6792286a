//! What a container does: a script of small steps, since the image has no shell.
//!
//! `seaworthy workload do 'write /data/x hello; stat /data/x; exit 3'`. Steps are separated by semicolons, words by
//! blanks. A step that fails ends the script with exit code 1 and the reason on the standard error; behind `try` it
//! prints `failed NAME`, and the script goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::{dial, serve};

/// How often files are looked at that are waited for.
const TICK: Duration = Duration::from_millis(200);
/// How long a dial may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What follows a step.
enum Next {
    Step,
    End(ExitCode),
}

/// Runs a script.
pub(super) fn run(script: &str) -> io::Result<ExitCode> {
    // Blocked from the beginning: as the first process of a PID namespace it would ignore SIGTERM until it is waited
    // for.
    if script.contains("until-term") {
        SigSet::from_iter([Signal::SIGTERM]).thread_block()?;
    }
    for text in script.split(';') {
        let words: Vec<_> = text.split_whitespace().collect();
        let done = match words.split_first() {
            None => continue,
            Some((&"try", words)) => {
                if let Err(error) = step(words) {
                    say(&format!("failed {}", name(&error)))?;
                }
                continue;
            }
            Some(_) => step(&words),
        };
        match done {
            Ok(Next::Step) => {}
            Ok(Next::End(code)) => return Ok(code),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", words.join(" ")))),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An error as the kernel names it, such as EACCES.
fn name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        None => error.to_string(),
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why.into())
}

fn number<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| wrong(format!("'{text}' is no number")))
}

fn mode(text: &str) -> io::Result<u32> {
    u32::from_str_radix(text, 8).map_err(|_| wrong(format!("'{text}' is no octal mode")))
}

/// Waits until a look at something says yes.
fn wait_for(mut there: impl FnMut() -> bool) {
    while !there() {
        std::thread::sleep(TICK);
    }
}

fn lines(path: &str) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

fn step(words: &[&str]) -> io::Result<Next> {
    match words {
        ["echo", rest @ ..] => say(&rest.join(" "))?,
        ["print", rest @ ..] => {
            io::stdout().write_all(rest.join(" ").as_bytes())?;
            io::stdout().flush()?;
        }
        ["complain", rest @ ..] => writeln!(io::stderr(), "{}", rest.join(" "))?,
        ["argv"] => say(&serde_json::Value::from(std::env::args().collect::<Vec<_>>()).to_string())?,
        ["env"] => {
            let mut all: Vec<_> = std::env::vars_os().collect();
            all.sort();
            for (name, value) in all {
                say(&format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))?;
            }
        }
        ["id"] => id()?,
        ["hostname"] => say(&super::answer::hostname())?,
        ["cwd"] => say(&std::env::current_dir()?.display().to_string())?,
        ["exit", code] => return Ok(Next::End(ExitCode::from(number::<u8>(code)?))),
        ["sleep", seconds] => std::thread::sleep(Duration::from_secs_f64(number(seconds)?)),
        ["until-term"] => drop(SigSet::from_iter([Signal::SIGTERM]).wait()?),
        ["serve", options @ ..] => {
            return serve::serve(serve::Options::read(options).map_err(wrong)?).map(Next::End);
        }
        ["dial", url] => {
            let url = url.parse().map_err(|_| wrong("no URL"))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let answer = runtime.block_on(dial::get(&url, PATIENCE));
            match answer["error"].as_str() {
                Some(how) => return Err(io::Error::other(format!("{how}: {}", answer["why"]))),
                None if answer["status"].as_u64() >= Some(400) => {
                    return Err(io::Error::other(format!("status {}: {}", answer["status"], answer["body"])));
                }
                None => say(answer["body"].as_str().unwrap_or_default())?,
            }
        }
        ["dial-udp", to, text @ ..] => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let answer = runtime.block_on(dial::ask(to, &text.join(" "), PATIENCE));
            match answer["error"].as_str() {
                Some(how) => return Err(io::Error::other(format!("{how}: {}", answer["why"]))),
                None => say(answer["body"].as_str().unwrap_or_default())?,
            }
        }
        _ => return files(words),
    }
    Ok(Next::Step)
}

/// Steps about files and about what the node allows.
fn files(words: &[&str]) -> io::Result<Next> {
    match words {
        ["cat", path] => {
            let mut bytes = Vec::new();
            File::open(path)?.read_to_end(&mut bytes)?;
            let mut out = io::stdout().lock();
            out.write_all(&bytes)?;
            if !bytes.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
            out.flush()?;
        }
        ["hex", path] => {
            let bytes: Vec<_> = fs::read(path)?.iter().map(|byte| format!("{byte:02x}")).collect();
            say(&bytes.concat())?;
        }
        ["head", path, count] => {
            let text = fs::read_to_string(path)?;
            text.lines().take(number(count)?).try_for_each(say)?;
        }
        ["lines", path] => say(&lines(path).to_string())?,
        ["list", path] => {
            let mut names: Vec<_> = fs::read_dir(path)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<_>>()?;
            names.sort();
            say(&names.join(" "))?;
        }
        ["stat", path] => stat(path, &fs::metadata(path)?)?,
        ["lstat", path] => stat(path, &fs::symlink_metadata(path)?)?,
        ["test", path] => fs::metadata(path).map(|_| ())?,
        ["has-lines", path, count] => {
            let (found, wanted) = (lines(path), number(count)?);
            if found < wanted {
                return Err(io::Error::other(format!("{found} lines")));
            }
        }
        ["write", path, text @ ..] => fs::write(path, text.join(" "))?,
        ["create", permissions, path, text @ ..] => {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(mode(permissions)?);
            options.open(path)?.write_all(text.join(" ").as_bytes())?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode(permissions)?))?;
        }
        ["append", path, text @ ..] => {
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            writeln!(file, "{}", text.join(" "))?;
        }
        ["mkdir", path] => fs::create_dir_all(path)?,
        ["rm", path] if Path::new(path).is_dir() => fs::remove_dir_all(path)?,
        ["rm", path] => fs::remove_file(path)?,
        ["chmod", permissions, path] => fs::set_permissions(path, fs::Permissions::from_mode(mode(permissions)?))?,
        ["copy", from, to, permissions] => {
            fs::copy(from, to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(mode(permissions)?))?;
        }
        ["wait-file", path] => wait_for(|| fs::metadata(path).is_ok()),
        ["wait-gone", path] => wait_for(|| fs::metadata(path).is_err()),
        ["wait-text", path, text @ ..] => {
            let wanted = text.join(" ");
            wait_for(|| fs::read_to_string(path).is_ok_and(|found| found.contains(&wanted)));
        }
        // The n-th run ends with the n-th code; later ones go on.
        ["by-run", path, codes @ ..] => {
            files(&["append", path, "run"])?;
            if let Some(code) = codes.get(lines(path) - 1) {
                return Ok(Next::End(ExitCode::from(number::<u8>(code)?)));
            }
        }
        _ => return limits(words),
    }
    Ok(Next::Step)
}

/// Steps that the node may refuse.
fn limits(words: &[&str]) -> io::Result<Next> {
    match words {
        // The cgroups of each process that has this text in its command line, except this one.
        ["cgroups-of", text] => {
            for entry in fs::read_dir("/proc")?.flatten() {
                let folder = entry.path();
                let own = folder.file_name().is_some_and(|name| *name == *std::process::id().to_string());
                let command = fs::read(folder.join("cmdline")).unwrap_or_default();
                if !own && String::from_utf8_lossy(&command).contains(text) {
                    say(&fs::read_to_string(folder.join("cgroup")).unwrap_or_default())?;
                }
            }
        }
        ["set-hostname", name] => nix::unistd::sethostname(name)?,
        ["alloc", mebibytes] => {
            // Each page is touched, so that it counts, and kept until the end.
            let bytes = vec![1_u8; number::<usize>(mebibytes)? << 20].leak();
            say(&format!("allocated {mebibytes} MiB, {}", bytes.iter().filter(|byte| **byte == 1).count()))?;
        }
        ["burn", seconds] => {
            let end = std::time::Instant::now() + Duration::from_secs_f64(number(seconds)?);
            while std::time::Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        // Starts programs until one is refused; they end with this one's pipe.
        ["spawn", count] => {
            let mut children = Vec::new();
            let wanted = number::<usize>(count)?;
            let refused = loop {
                if children.len() == wanted {
                    break None;
                }
                let mut command = Command::new("/proc/self/exe");
                command.args(["workload", "do", "cat /dev/stdin"]).stdin(Stdio::piped()).stdout(Stdio::null());
                match command.spawn() {
                    Ok(child) => children.push(child),
                    Err(error) => break Some(error),
                }
            };
            match refused {
                Some(error) => say(&format!("started {}, then {}", children.len(), name(&error)))?,
                None => say(&format!("started {}", children.len()))?,
            }
            for mut child in children {
                child.kill().ok();
                child.wait().ok();
            }
        }
        // Runs another program, such as a copy with the set-user-ID bit.
        ["run", program, script @ ..] => {
            let script = script.join(" ").replace(',', ";");
            let status = Command::new(program).args(["workload", "do", &script]).status()?;
            if !status.success() {
                return Err(io::Error::other(status.to_string()));
            }
        }
        // A child outlives this script, and holds its standard output.
        ["background", script @ ..] => {
            Command::new("/proc/self/exe").args(["workload", "do", &script.join(" ").replace(',', ";")]).spawn()?;
        }
        ["daemonize", script @ ..] => {
            let mut command = Command::new("/proc/self/exe");
            command.args(["workload", "do", &script.join(" ").replace(',', ";")]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        }
        // What comes in goes out, until the end of the input.
        ["copy-input"] => {
            let mut bytes = [0; 4096];
            loop {
                let length = io::stdin().read(&mut bytes)?;
                if length == 0 {
                    break;
                }
                io::stdout().write_all(&bytes[..length])?;
                io::stdout().flush()?;
            }
        }
        _ => return Err(wrong("there is no such step")),
    }
    Ok(Next::Step)
}

/// A file in one line: mode, owner, kind, size, and the file system that it is on.
fn stat(path: &str, found: &fs::Metadata) -> io::Result<()> {
    let kind = match found.file_type() {
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "link",
        kind if kind.is_socket() => "socket",
        kind if kind.is_file() => "file",
        _ => "special",
    };
    let system = statfs(path)?;
    let on = if system.filesystem_type() == TMPFS_MAGIC { "tmpfs" } else { "disk" };
    let size = u64::try_from(system.block_size()).unwrap_or_default() * system.blocks();
    say(&format!(
        "stat {path} mode={:04o} perm={:04o} uid={} gid={} kind={kind} size={} on={on} capacity={size}",
        found.mode() & 0o7777,
        found.mode() & 0o777,
        found.uid(),
        found.gid(),
        found.size(),
    ))
}

/// Who the process is, as the kernel has it.
fn id() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let nth = |name: &str, index: usize| field(name).get(index).cloned().unwrap_or_default();
    say(&format!("uid={} euid={} gid={} egid={}", nth("Uid", 0), nth("Uid", 1), nth("Gid", 0), nth("Gid", 1)))?;
    say(&format!("groups={}", field("Groups").join(",")))?;
    for (label, name) in [
        ("effective", "CapEff"),
        ("permitted", "CapPrm"),
        ("bounding", "CapBnd"),
        ("ambient", "CapAmb"),
        ("no-new-privs", "NoNewPrivs"),
        ("seccomp", "Seccomp"),
    ] {
        say(&format!("{label}={}", nth(name, 0)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_does_its_steps_and_names_what_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let path = path.display();
        run(&format!("create 0640 {path} a b; append {path} c; has-lines {path} 1; try cat {path}/no; stat {path}"))
            .unwrap();
        assert_eq!(fs::read_to_string(path.to_string()).unwrap(), "a bc\n");
        let error = run(&format!("has-lines {path} 2")).unwrap_err().to_string();
        assert!(error.contains("has-lines") && error.contains("1 lines"), "{error}");
        assert!(run("fly away").unwrap_err().to_string().contains("there is no such step"));
        let runs = folder.path().join("runs");
        let runs = format!("by-run {} 3 0; exit 7", runs.display());
        for code in [3, 0, 7] {
            assert_eq!(format!("{:?}", run(&runs).unwrap()), format!("{:?}", ExitCode::from(code)));
        }
    }
}
