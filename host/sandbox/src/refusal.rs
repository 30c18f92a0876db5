//! Why a component is not loaded: a closed set of codes, because they are labels and part of the operators' interface.

/// The code of a refusal. [`LoadCode::as_str`] is what operators see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadCode {
    /// The file has no bytes.
    Empty,
    /// The bytes are neither WebAssembly nor anything else known.
    NotWasm,
    /// Machine code compiled ahead of time. It cannot be checked, so it is never run.
    Precompiled,
    /// A core module; plugins are components.
    CoreModule,
    /// WebAssembly that breaks its own rules: cut short, or invalid.
    Malformed,
    /// A component that exports none of the four kinds, or lacks one that its settings list.
    NoKind,
    /// It imports `wasi:http` or `mcp-client` and its settings grant none.
    ImportNotGranted,
    /// It imports something that the gateway does not offer.
    UnknownImport,
    /// It was built for a version of `watchgate:plugin` that the gateway does not speak.
    WitVersion,
    /// It exports a kind in a shape that is not the contract's, or no `lifecycle`.
    KindShape,
    /// One instance needs more than its limits: memory, tables, or more parts than the pool has.
    OverLimits,
    /// It could not be compiled.
    Compile,
    /// The settings hold a grant that is not an address.
    BadGrant,
    /// `start` answered with an error.
    StartError,
    /// `start` trapped.
    StartTrap,
    /// `start` used up its CPU time or its deadline.
    StartTimeout,
    /// The instances of all generations together do not fit the pool.
    NoCapacity,
    /// A trial call failed.
    TrialFailed,
}

impl LoadCode {
    /// Every code, in the order of the checks.
    pub const ALL: [Self; 18] = [
        Self::Empty,
        Self::NotWasm,
        Self::Precompiled,
        Self::CoreModule,
        Self::Malformed,
        Self::WitVersion,
        Self::NoKind,
        Self::KindShape,
        Self::ImportNotGranted,
        Self::UnknownImport,
        Self::BadGrant,
        Self::Compile,
        Self::OverLimits,
        Self::NoCapacity,
        Self::StartError,
        Self::StartTrap,
        Self::StartTimeout,
        Self::TrialFailed,
    ];

    /// The code in kebab case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotWasm => "not-wasm",
            Self::Precompiled => "precompiled",
            Self::CoreModule => "core-module",
            Self::Malformed => "malformed",
            Self::NoKind => "no-kind",
            Self::ImportNotGranted => "import-not-granted",
            Self::UnknownImport => "unknown-import",
            Self::WitVersion => "wit-version",
            Self::KindShape => "kind-shape",
            Self::OverLimits => "over-limits",
            Self::Compile => "compile",
            Self::BadGrant => "bad-grant",
            Self::StartError => "start-error",
            Self::StartTrap => "start-trap",
            Self::StartTimeout => "start-timeout",
            Self::NoCapacity => "no-capacity",
            Self::TrialFailed => "trial-failed",
        }
    }
}

/// Why a component is not loaded. Always the plugin's or its settings' fault, except for [`LoadCode::NoCapacity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.as_str())]
pub struct LoadError {
    /// The class.
    pub code: LoadCode,
    /// One sentence for operators.
    pub detail: String,
}

impl LoadError {
    /// A refusal with its sentence.
    pub(crate) fn new(code: LoadCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// Why the sandbox itself could not be set up: the gateway's fault or its machine's.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// wasmtime refused the configuration on this machine.
    #[error("the WebAssembly engine does not start: {0:#}")]
    Engine(wasmtime::Error),
    /// The compile cache cannot be used.
    #[error("the compile cache in {folder} cannot be used: {source:#}")]
    Cache {
        /// The folder.
        folder: String,
        /// The cause.
        source: wasmtime::Error,
    },
    /// The ticker thread could not be started.
    #[error("the epoch thread does not start: {0}")]
    Thread(#[from] std::io::Error),
}
