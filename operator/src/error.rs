//! What can go wrong while a Tenant is carried out.

/// Why a Tenant could not be carried out this time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A request to the API server failed.
    #[error("{act} {object}: {}", told(source))]
    Request {
        /// What was tried.
        act: &'static str,
        /// On what.
        object: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The index did not tell of the tenant in time, so its doors stay shut.
    #[error("the TenancyIndex does not hold this tenant yet: its RoleBindings wait")]
    IndexBehind,
    /// What a namespace may use of the tenant's quota is not limited yet, so its doors stay shut.
    #[error(
        "the API server does not limit what these namespaces use of spec.quota.tenant yet: {0}; their RoleBindings wait; if it stays so, check that Kubernetes knows the resource"
    )]
    Unlimited(String),
    /// What is there is not known, and won't be: the watches ended.
    #[error("the watches ended: {0}")]
    Unsynced(String),
    /// The Tenant as stored can't be read.
    #[error("these fields can't be read: {0}")]
    Unreadable(String),
    /// The whole took too long.
    #[error("not finished within {0} seconds")]
    Deadline(u64),
    /// A namespace of a deleted Tenant is still there.
    #[error("waiting for Namespaces to be deleted: {0}")]
    StillThere(String),
    /// A namespace goes to another Tenant, and the tenant's subjects are still let in.
    #[error(
        "Namespace {namespace} is handed over when no RoleBinding in it names this tenant's subjects any more: delete {bindings}"
    )]
    StillBound {
        /// The namespace.
        namespace: String,
        /// The RoleBindings.
        bindings: String,
    },
}

/// What the API server says, without the whole of its Status beside it.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Coarse classes of errors, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Category {
    /// Somebody else wrote first.
    Conflict,
    /// The API server refused.
    Forbidden,
    /// The API server calls it impossible.
    Invalid,
    /// It was stored by another version.
    Unreadable,
    /// It takes time.
    Waiting,
    /// Everything that goes away by itself.
    Transient,
}

impl Category {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid",
            Self::Unreadable => "unreadable",
            Self::Waiting => "waiting",
            Self::Transient => "transient",
        }
    }
}

impl Error {
    pub(crate) fn request(act: &'static str, object: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let object = object.into();
        move |source| Self::Request {
            act,
            object,
            source: Box::new(source),
        }
    }

    /// Whether the API server answered, so that it is known what became of a request.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Request { source, .. } => {
                matches!(source.as_ref(), kube::Error::Api(status) if (400..500).contains(&status.code))
            }
            _ => true,
        }
    }

    pub(crate) fn category(&self) -> Category {
        match self {
            Self::IndexBehind | Self::StillThere(_) | Self::StillBound { .. } | Self::Unlimited(_) => {
                Category::Waiting
            }
            Self::Unreadable(_) => Category::Unreadable,
            Self::Unsynced(_) | Self::Deadline(_) => Category::Transient,
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.is_conflict() => Category::Conflict,
                kube::Error::Api(status) if status.is_forbidden() => Category::Forbidden,
                kube::Error::Api(status) if status.is_invalid() => Category::Invalid,
                _ => Category::Transient,
            },
        }
    }
}
