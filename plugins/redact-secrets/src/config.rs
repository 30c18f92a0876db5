//! The settings: what to do with each class.

use serde::Deserialize;

use crate::class::{Class, ClassSet};

/// What happens to a secret that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It becomes `[REDACTED:aws_key]`.
    #[default]
    Mask,
    /// It becomes `[aws_key:3f9a1c22]`: the first 32 bits of its SHA-256, without a key. Equal secrets stay recognisable as equal, and who can
    /// guess a secret can check the guess.
    Hash,
    /// The message is denied.
    Deny,
    /// The class is not looked for.
    Off,
}

impl Action {
    /// Its name in settings and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Hash => "hash",
            Self::Deny => "deny",
            Self::Off => "off",
        }
    }
}

/// The `[config]` table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For the classes not named below.
    pub default: Action,
    /// See the crate's documentation.
    pub use_triggers: bool,
    aws_key: Option<Action>,
    gcp_key: Option<Action>,
    azure_key: Option<Action>,
    github_token: Option<Action>,
    slack_token: Option<Action>,
    stripe_key: Option<Action>,
    ai_key: Option<Action>,
    bearer_token: Option<Action>,
    jwt: Option<Action>,
    private_key: Option<Action>,
    email: Option<Action>,
    card: Option<Action>,
}

impl Config {
    /// What to do with a class.
    #[must_use]
    pub fn action(&self, class: Class) -> Action {
        let own = match class {
            Class::AwsKey => self.aws_key,
            Class::GcpKey => self.gcp_key,
            Class::AzureKey => self.azure_key,
            Class::GithubToken => self.github_token,
            Class::SlackToken => self.slack_token,
            Class::StripeKey => self.stripe_key,
            Class::AiKey => self.ai_key,
            Class::BearerToken => self.bearer_token,
            Class::Jwt => self.jwt,
            Class::PrivateKey => self.private_key,
            Class::Email => self.email,
            Class::Card => self.card,
        };
        own.unwrap_or(self.default)
    }

    /// The classes to look for.
    #[must_use]
    pub fn enabled(&self) -> ClassSet {
        Class::ALL.into_iter().filter(|class| self.action(*class) != Action::Off).collect()
    }

    /// The triggers to declare: none unless `use_triggers` asks for them.
    ///
    /// # Errors
    /// Names an enabled class that has no triggers.
    pub fn triggers(&self) -> Result<Vec<&'static str>, String> {
        let mut triggers = Vec::new();
        if !self.use_triggers {
            return Ok(triggers);
        }
        let enabled = self.enabled();
        for class in Class::ALL.into_iter().filter(|class| enabled.contains(*class)) {
            let literals = class.triggers().ok_or_else(|| {
                format!(
                    "config key `use_triggers`: nothing announces a secret of class {}; set it to \"off\" or use no triggers",
                    class.name()
                )
            })?;
            triggers.extend(literals);
        }
        Ok(triggers)
    }
}
