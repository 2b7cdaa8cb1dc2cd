//! The images that the node gets as archives: nothing is pulled.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{checkout, progress::Step};

/// The image of the Pods that tests run, and of every Pod's sandbox.
pub const WORKLOAD: &str = "localhost/bailiwick-workload:1";
/// The image that the chart names, without its tag.
pub const BAILIWICK: &str = "ghcr.io/bailiwick/bailiwick";
/// Linked statically: the image holds nothing else.
pub(super) const TARGET: &str = "x86_64-unknown-linux-musl";

/// How the binaries of the image are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As they are shipped. Takes minutes.
    Release,
    /// Quickly, and large: for tests.
    Debug,
}

/// Builds Bailiwick's binaries for the image and gives the folder they are in.
pub async fn static_binaries(profile: Profile) -> Result<PathBuf> {
    let step = Step::start("building Bailiwick's static binaries");
    let mut command = checkout::cargo();
    command.args(["build", "--quiet", "--locked", "--target", TARGET, "--bins"]);
    command.args(checkout::PROGRAM_PACKAGES);
    let folder = match profile {
        Profile::Release => {
            command.arg("--release");
            "release"
        }
        Profile::Debug => "debug",
    };
    let output = command.output().await.context("run cargo")?;
    if !output.status.success() {
        bail!(
            "the static binaries can't be built: {}\nIs the target there? `rustup target add {TARGET}`",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    step.done();
    Ok(checkout::target_directory()?.join(TARGET).join(folder))
}

/// Builds the image of the checkout's Dockerfile, as `make image` does, and writes it to an archive.
pub async fn bailiwick_archive(binaries: &Path, tag: &str, archive: &Path) -> Result<()> {
    let reference = format!("{BAILIWICK}:{tag}");
    let step = Step::start(format!("building the image {reference}"));
    let build = Build::begin(archive)?;
    for name in ["bailiwick", "bailiwick-operator", "bailiwick-webhook"] {
        fs::copy(binaries.join(name), build.context.join(name)).with_context(|| format!("copy {name}"))?;
    }
    fs::copy(
        checkout::root().join("Dockerfile"),
        build.context.join("Dockerfile"),
    )
    .context("copy Dockerfile")?;
    build.finish(&reference, archive).await?;
    step.done();
    Ok(())
}

/// Builds the program of the tests' Pods and writes an archive of its image.
pub(super) async fn workload_archive(archive: &Path) -> Result<()> {
    let build = Build::begin(archive)?;
    let output = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(build.context.join("workload"))
        .current_dir(checkout::root().join("e2e/workload"))
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-buildvcs=false")
        .stdin(Stdio::null())
        .output()
        .await
        .context("run go: is the Go toolchain on PATH? See https://go.dev/dl/")?;
    if !output.status.success() {
        bail!(
            "e2e/workload can't be built: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    fs::write(
        build.context.join("Dockerfile"),
        "FROM scratch\nCOPY workload /\nUSER 65532:65532\nENTRYPOINT [\"/workload\"]\n",
    )?;
    build.finish(WORKLOAD, archive).await
}

/// One build, in folders that go when it is done.
struct Build {
    context: PathBuf,
    storage: PathBuf,
}

impl Build {
    fn begin(archive: &Path) -> Result<Self> {
        let context = archive.with_extension("context");
        let storage = archive.with_extension("storage");
        // A build that failed left them.
        for folder in [&context, &storage] {
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
            }
        }
        fs::create_dir_all(&context).with_context(|| format!("create {}", context.display()))?;
        Ok(Self { context, storage })
    }

    async fn finish(self, reference: &str, archive: &Path) -> Result<()> {
        let (tag, context) = (format!("--tag={reference}"), self.context.display().to_string());
        let build = [
            "build",
            "--isolation=chroot",
            "--build-arg=BINARIES=.",
            &tag,
            &context,
        ];
        buildah(&self.storage, &build).await?;
        if archive.exists() {
            fs::remove_file(archive)?;
        }
        let destination = format!("docker-archive:{}:{reference}", archive.display());
        buildah(&self.storage, &["push", reference, &destination]).await?;
        for folder in [self.context, self.storage] {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        Ok(())
    }
}

async fn buildah(storage: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("buildah")
        .arg("--storage-driver=vfs")
        .arg(format!("--root={}", storage.join("root").display()))
        .arg(format!("--runroot={}", storage.join("run").display()))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run buildah")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("buildah {}: {}", arguments.first().unwrap_or(&""), error.trim());
    }
    Ok(())
}
