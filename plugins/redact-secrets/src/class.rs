//! The classes of secrets, by the names that settings, replacements and metrics use.

/// A class of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// AWS access key ids, and secret access keys that stand beside their name.
    AwsKey,
    /// Google API keys.
    GcpKey,
    /// Azure storage and shared access keys that stand beside their name.
    AzureKey,
    /// GitHub tokens of every type.
    GithubToken,
    /// Slack tokens of every type.
    SlackToken,
    /// Stripe secret and restricted keys.
    StripeKey,
    /// Keys of OpenAI, Anthropic and others that begin with `sk-`.
    AiKey,
    /// What follows the word `Bearer`.
    BearerToken,
    /// JSON Web Tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
    /// E-mail addresses.
    Email,
    /// Payment card numbers: a known issuer, and a valid check digit.
    Card,
}

impl Class {
    /// Every class, in the order of [`Class::index`].
    pub const ALL: [Self; 12] = [
        Self::AwsKey,
        Self::GcpKey,
        Self::AzureKey,
        Self::GithubToken,
        Self::SlackToken,
        Self::StripeKey,
        Self::AiKey,
        Self::BearerToken,
        Self::Jwt,
        Self::PrivateKey,
        Self::Email,
        Self::Card,
    ];

    /// Its name in settings, replacements and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsKey => "aws_key",
            Self::GcpKey => "gcp_key",
            Self::AzureKey => "azure_key",
            Self::GithubToken => "github_token",
            Self::SlackToken => "slack_token",
            Self::StripeKey => "stripe_key",
            Self::AiKey => "ai_key",
            Self::BearerToken => "bearer_token",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private_key",
            Self::Email => "email",
            Self::Card => "card",
        }
    }

    /// Literals of which every secret of this class holds one, whatever the case of its letters. None when there are none.
    #[must_use]
    pub const fn triggers(self) -> Option<&'static [&'static str]> {
        Some(match self {
            Self::AwsKey => &["AKIA", "ASIA", "ABIA", "ACCA", "secret"],
            Self::GcpKey => &["AIza"],
            Self::AzureKey => &["accountkey", "sharedaccesskey"],
            Self::GithubToken => &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
            Self::SlackToken => &["xox", "xapp-"],
            Self::StripeKey => &["sk_live_", "rk_live_", "sk_test_", "rk_test_"],
            Self::AiKey => &["sk-"],
            Self::BearerToken => &["bearer"],
            Self::Jwt => &["eyJ"],
            Self::PrivateKey => &["-----BEGIN"],
            // An `@` alone is too short for a trigger, and numbers hold no literal.
            Self::Email | Self::Card => return None,
        })
    }

    /// Its place in [`Class::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A set of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassSet(u16);

impl ClassSet {
    /// Whether the class is in the set.
    #[must_use]
    pub const fn contains(self, class: Class) -> bool {
        self.0 & (1 << class.index()) != 0
    }
}

impl FromIterator<Class> for ClassSet {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Self {
        Self(classes.into_iter().fold(0, |set, class| set | 1 << class.index()))
    }
}
