//! `watchgate:plugin/startup`: the settings that `start` is lent, and the interest it declares.

use std::collections::BTreeSet;

use wasmtime::component::Resource;
use watchgate_hooks::{Interest, Surface};
use watchgate_mcp::Direction;

use super::{LentSetup, NotLent};
use crate::bindings::watchgate::plugin::{messages, startup as wit};
use crate::state::State;

type Lent = Resource<LentSetup>;

/// Names and triggers that one plugin may declare, each.
const MAX_DECLARED: usize = 1000;
/// Bytes of one trigger.
const TRIGGER_BYTES: std::ops::RangeInclusive<usize> = 2..=64;

/// What one run of `start` declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    surfaces: Vec<Surface>,
    directions: Vec<Direction>,
    methods: BTreeSet<String>,
    tools: BTreeSet<String>,
    triggers: BTreeSet<String>,
    /// Whether `keep-text` was called.
    pub(crate) keeps_text: bool,
}

impl Draft {
    /// The interest declared, sorted, so that two runs that declare the same compare equal.
    pub(crate) fn interest(&self) -> Interest {
        Interest {
            surfaces: self.surfaces.clone(),
            directions: self.directions.clone(),
            methods: self.methods.iter().cloned().collect(),
            tools: self.tools.iter().cloned().collect(),
            triggers: self.triggers.iter().cloned().collect(),
        }
    }

    fn add_trigger(&mut self, literal: &str) -> Result<(), String> {
        if !TRIGGER_BYTES.contains(&literal.len()) {
            return Err("a trigger has 2 to 64 bytes".to_owned());
        }
        if !literal.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"\\/".contains(&byte)) {
            return Err(
                "a trigger holds no character that JSON may escape: `\"`, `\\`, `/`, control characters, anything beyond ASCII".to_owned()
            );
        }
        if self.triggers.len() >= MAX_DECLARED {
            return Err(format!("more than {MAX_DECLARED} triggers"));
        }
        self.triggers.insert(literal.to_ascii_lowercase());
        Ok(())
    }
}

/// A guest declared more methods or tools than [`MAX_DECLARED`]. It traps, because leaving one out would hide messages from it.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_DECLARED} methods or tools declared")]
struct TooManyDeclared;

fn declare(names: &mut BTreeSet<String>, name: String) -> wasmtime::Result<()> {
    if names.len() >= MAX_DECLARED {
        return Err(wasmtime::Error::new(TooManyDeclared));
    }
    names.insert(name);
    Ok(())
}

fn keep<T: PartialEq>(kept: &mut Vec<T>, value: T) {
    if !kept.contains(&value) {
        kept.push(value);
    }
}

impl State {
    fn setup(&mut self) -> wasmtime::Result<&mut Draft> {
        self.count_host_call()?;
        self.draft.as_mut().ok_or_else(|| wasmtime::Error::new(NotLent("setup")))
    }
}

impl wit::Host for State {}

impl wit::HostSetup for State {
    fn plugin_name(&mut self, _: Lent) -> wasmtime::Result<String> {
        self.setup()?;
        Ok(self.plugin.name.to_string())
    }

    fn config(&mut self, _: Lent) -> wasmtime::Result<String> {
        self.setup()?;
        Ok(self.plugin.settings.config_json.clone())
    }

    fn want_surface(&mut self, _: Lent, surface: messages::Surface) -> wasmtime::Result<()> {
        let surface = match surface {
            messages::Surface::Wire => Surface::Wire,
            messages::Surface::Telemetry => Surface::Telemetry,
        };
        keep(&mut self.setup()?.surfaces, surface);
        Ok(())
    }

    fn want_direction(&mut self, _: Lent, direction: messages::Direction) -> wasmtime::Result<()> {
        let direction = match direction {
            messages::Direction::ClientToServer => Direction::ClientToServer,
            messages::Direction::ServerToClient => Direction::ServerToClient,
        };
        keep(&mut self.setup()?.directions, direction);
        Ok(())
    }

    fn want_method(&mut self, _: Lent, method: String) -> wasmtime::Result<()> {
        declare(&mut self.setup()?.methods, method)
    }

    fn want_tool(&mut self, _: Lent, tool: String) -> wasmtime::Result<()> {
        declare(&mut self.setup()?.tools, tool)
    }

    fn add_trigger(&mut self, _: Lent, literal: String) -> wasmtime::Result<Result<(), String>> {
        Ok(self.setup()?.add_trigger(&literal))
    }

    fn keep_text(&mut self, _: Lent) -> wasmtime::Result<()> {
        self.setup()?.keeps_text = true;
        Ok(())
    }

    fn drop(&mut self, _: Lent) -> wasmtime::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Draft;

    fn check(literal: &str, accepted: bool) {
        assert_eq!(Draft::default().add_trigger(literal).is_ok(), accepted, "{literal:?}");
    }

    #[test]
    fn triggers_are_what_json_writes_as_it_is() {
        check("AKIA", true);
        check("-----BEGIN ", true);
        check("a", false);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("https://", false);
        check("say \"hi\"", false);
        check("back\\slash", false);
        check("tab\t", false);
        check("schlüssel", false);
    }

    #[test]
    fn triggers_are_lower_cased_and_bounded() {
        let mut draft = Draft::default();
        draft.add_trigger("AKIA").unwrap();
        draft.add_trigger("akia").unwrap();
        assert_eq!(draft.interest().triggers, ["akia"]);
        for number in 0..999 {
            draft.add_trigger(&format!("word{number}")).unwrap();
        }
        assert!(draft.add_trigger("one more").is_err());
    }
}
