//! What would have to be known to judge an object.

use bailiwick_core::snapshot::Need;

use crate::check::document::RENDER;

/// Why no verdict is possible, or not the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doubt {
    /// No Tenant is known at all.
    NoTenants,
    /// It says no namespace.
    NoNamespace,
    /// It has to be rendered first.
    Template,
    /// This is in none of the files.
    Unknown(Need),
    /// A subject's namespace is in none of the files.
    SubjectNamespace(String),
    /// The same object is written there, too.
    Duplicate(String),
}

impl Doubt {
    /// What isn't known.
    pub fn message(&self) -> String {
        match self {
            Self::NoTenants => {
                "there is no Tenant among the files: what belongs to whom can't be told".to_owned()
            }
            Self::NoNamespace => "it says no metadata.namespace".to_owned(),
            Self::Template => "it holds a template expression {{ }}".to_owned(),
            Self::Unknown(Need::Namespace(name)) => {
                format!("Namespace '{name}' is in none of the files: whose it is can't be told")
            }
            Self::Unknown(Need::ClusterRole(name)) => {
                format!("ClusterRole '{name}' is in none of the files: what it grants can't be told")
            }
            Self::Unknown(Need::Role { namespace, name }) => {
                format!("Role '{namespace}/{name}' is in none of the files: what it grants can't be told")
            }
            Self::Unknown(Need::PersistentVolume(name)) => {
                format!(
                    "PersistentVolume '{name}' is in none of the files: where its data lies can't be told"
                )
            }
            Self::SubjectNamespace(name) => {
                format!("Namespace '{name}' of a subject is in none of the files: whose it is can't be told")
            }
            Self::Duplicate(place) => {
                format!("the same object is in {place}: which one counts can't be told")
            }
        }
    }

    /// What to do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NoTenants => "add the folder with all Tenants of the cluster: -f TENANTS",
            Self::NoNamespace => "add it, or name the default with --namespace",
            Self::Template => RENDER,
            Self::Unknown(Need::Namespace(_)) | Self::SubjectNamespace(_) => {
                "add its manifest, or the Tenant that declares it, with -f"
            }
            Self::Unknown(_) => "add its manifest with -f",
            Self::Duplicate(_) => "keep one of the two; of overlays, check what kustomize build prints",
        }
    }
}
