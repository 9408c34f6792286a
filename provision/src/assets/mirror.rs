//! Downloads from the release sites, or from a mirror that has their paths below it.
//!
//! Every file is held against the SHA-256 that the site publishes beside it while it streams; one that was cut off goes
//! on where it stopped.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, RANGE};

use super::{Cache, Program, Progress, Project, Report, Request, Version};

const ATTEMPTS: u32 = 4;
/// The most that a list of checksums may be.
const SUMS_LIMIT: u64 = 1 << 20;

/// A file to fetch, and what to take of it.
struct Download {
    url: String,
    /// Where the checksum stands: a file with one, or a list with names.
    sums: String,
    /// The file's own name, for lists.
    name: String,
    /// Is it an archive of several programs?
    archive: bool,
}

/// The release sites' layout.
fn downloads(request: &Request, project: Project, version: &Version, programs: &[&'static Program]) -> Vec<Download> {
    let site = |host: &str| match &request.mirror {
        Some(mirror) => mirror.trim_end_matches('/').to_owned(),
        None => format!("https://{host}"),
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    match project {
        Project::Kubernetes => {
            let base = format!("{}/release/{version}/bin/linux/{arch}", site("dl.k8s.io"));
            let one = |program: &&'static Program| {
                let url = format!("{base}/{}", program.name);
                Download { sums: format!("{url}.sha256"), url, name: program.name.to_owned(), archive: false }
            };
            programs.iter().map(one).collect()
        }
        Project::Etcd => {
            let base = format!("{}/etcd-io/etcd/releases/download/{version}", site("github.com"));
            let name = format!("etcd-{version}-linux-{arch}.tar.gz");
            vec![Download { url: format!("{base}/{name}"), sums: format!("{base}/SHA256SUMS"), name, archive: true }]
        }
        Project::CoreDns => {
            let base = format!("{}/coredns/coredns/releases/download/{version}", site("github.com"));
            let name = format!("coredns_{}_linux_{arch}.tgz", version.bare());
            let url = format!("{base}/{name}");
            vec![Download { sums: format!("{url}.sha256"), url, name, archive: true }]
        }
        Project::Containerd => {
            let base = format!("{}/containerd/containerd/releases/download/{version}", site("github.com"));
            let name = format!("containerd-{}-linux-{arch}.tar.gz", version.bare());
            let url = format!("{base}/{name}");
            vec![Download { sums: format!("{url}.sha256sum"), url, name, archive: true }]
        }
        Project::System | Project::Cni => Vec::new(),
    }
}

/// Downloads programs of a project into the cache.
pub(super) fn download(
    request: &Request,
    project: Project,
    version: &Version,
    programs: &[&'static Program],
    report: Report<'_>,
) -> Result<(), String> {
    crate::tls::install();
    let client = Client::builder().connect_timeout(Duration::from_secs(5)).timeout(None).build();
    let client = client.map_err(|error| format!("no HTTP client: {error}"))?;
    let folder = request.cache.folder(project, version);
    let _lock = Cache::lock(&folder)?;
    for download in downloads(request, project, version, programs) {
        let wanted = checksum(&client, &download)?;
        let part = folder.join(format!(".{}.part", download.name));
        fetch(&client, &download, &part, &wanted, report)?;
        let failed = |error: std::io::Error| format!("{}: {error}", part.display());
        if download.archive {
            unpack(&part, &folder, programs)?;
            std::fs::remove_file(&part).map_err(failed)?;
        } else {
            std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
            std::fs::rename(&part, folder.join(&download.name)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Asks until there is an answer worth having: servers that are overloaded are asked again, a little later each time.
fn get(client: &Client, url: &str, from: u64) -> Result<Response, String> {
    let mut why = String::new();
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(200 << attempt));
        }
        let ask = client.get(url);
        let ask = if from > 0 { ask.header(RANGE, format!("bytes={from}-")) } else { ask };
        match ask.send() {
            Ok(response)
                if response.status().is_success() || response.status() == StatusCode::RANGE_NOT_SATISFIABLE =>
            {
                return Ok(response);
            }
            Ok(response) => {
                why = format!("{url}: {}", response.status());
                let later = response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS;
                if !later {
                    break;
                }
            }
            Err(error) => {
                let mut source: &dyn std::error::Error = &error;
                while let Some(deeper) = source.source() {
                    source = deeper;
                }
                why = format!("{url}: {source}");
                // Who cannot be reached now is not reached in a second either.
                if error.is_connect() {
                    break;
                }
            }
        }
    }
    Err(why)
}

fn checksum(client: &Client, download: &Download) -> Result<String, String> {
    let mut text = String::new();
    get(client, &download.sums, 0)?
        .take(SUMS_LIMIT)
        .read_to_string(&mut text)
        .map_err(|error| format!("{}: {error}", download.sums))?;
    let is_sum = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line =
        text.lines().find(|line| line.split_whitespace().nth(1).is_none_or(|name| name.ends_with(&download.name)));
    let sum = line.and_then(|line| line.split_whitespace().find(is_sum));
    sum.map(str::to_lowercase).ok_or_else(|| format!("{} has no SHA-256 of {}", download.sums, download.name))
}

fn fetch(client: &Client, download: &Download, part: &Path, wanted: &str, report: Report<'_>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", part.display());
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let (mut context, mut done) = begun(part).map_err(failed)?;
        let mut response = get(client, &download.url, done)?;
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT
            && response
                .headers()
                .get(CONTENT_RANGE)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|range| range.starts_with(&format!("bytes {done}-")));
        let mut file = if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // All of it is here already, or something else is.
            OpenOptions::new().append(true).open(part).map_err(failed)?
        } else if goes_on {
            OpenOptions::new().append(true).open(part).map_err(failed)?
        } else {
            (context, done) = (digest::Context::new(&digest::SHA256), 0);
            File::create(part).map_err(failed)?
        };
        if response.status().is_success() {
            let total = response.content_length().map(|length| done + length);
            let mut buffer = vec![0; 256 << 10];
            loop {
                match response.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => {
                        file.write_all(&buffer[..count]).map_err(failed)?;
                        context.update(&buffer[..count]);
                        done += u64::try_from(count).unwrap_or(0);
                        report(Progress::Download { name: &download.name, done, total });
                    }
                    Err(error) => {
                        why = format!("{}: cut off after {done} bytes: {error}", download.url);
                        break;
                    }
                }
            }
            if total.is_some_and(|total| done < total) {
                continue;
            }
        }
        let sum: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if sum == wanted {
            return Ok(());
        }
        why = format!("{}: its SHA-256 is {sum}, and {} says {wanted}", download.url, download.sums);
        std::fs::remove_file(part).map_err(failed)?;
    }
    Err(why)
}

/// What an earlier attempt left, digested.
fn begun(part: &Path) -> std::io::Result<(digest::Context, u64)> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut done = 0;
    if let Ok(mut file) = File::open(part) {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => {
                    context.update(&buffer[..count]);
                    done += u64::try_from(count).unwrap_or(0);
                }
            }
        }
    }
    Ok((context, done))
}

/// Takes programs out of an archive, by their file names.
fn unpack(archive: &Path, folder: &Path, programs: &[&'static Program]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", archive.display());
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(File::open(archive).map_err(failed)?));
    let mut left: Vec<_> = programs.iter().map(|program| program.name).collect();
    for entry in tar.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(at) = left.iter().position(|wanted| *wanted == name && entry.header().entry_type().is_file()) else {
            continue;
        };
        let name = left.swap_remove(at);
        let unfinished = folder.join(format!(".{name}.part"));
        let mut file = File::create(&unfinished).map_err(failed)?;
        std::io::copy(&mut entry, &mut file).map_err(failed)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        std::fs::rename(&unfinished, folder.join(name)).map_err(failed)?;
    }
    if left.is_empty() { Ok(()) } else { Err(format!("{} does not hold {}", archive.display(), left.join(", "))) }
}
