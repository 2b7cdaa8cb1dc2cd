//! Writes the CustomResourceDefinitions into the folder named by the first argument: `make crds`.
#![allow(clippy::print_stderr, reason = "a command line tool talks on stderr")]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: crdgen FOLDER   (writes one YAML file per CustomResourceDefinition)");
        return ExitCode::from(2);
    };
    for crd in bailiwick_crds::custom_resource_definitions() {
        let path = folder.join(bailiwick_crds::file_name(&crd));
        let written = bailiwick_crds::to_yaml(&crd)
            .map_err(std::io::Error::other)
            .and_then(|yaml| fs::write(&path, yaml));
        if let Err(error) = written {
            eprintln!("crdgen: can't write {}: {error}", path.display());
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
