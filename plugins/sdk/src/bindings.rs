//! The contract of `wit/` as Rust, generated: what a plugin imports, and one module for each interface it may export.
//!
//! Each exported interface has a `generate!` of its own, with one small world. Two worlds that export the same interface would define the
//! same export macro twice; and one world with all interfaces would describe every plugin as exporting all of them. The
//! component linker unites the worlds that a plugin uses, so that a component exports exactly what `export_plugin!` names.
#![allow(missing_docs, unused_qualifications, clippy::all)]

/// Everything a plugin may import.
pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package watchgate:sdk; world everything-imported { include watchgate:plugin/imports@0.1.0; }",
        world: "watchgate:sdk/everything-imported",
        ownership: Borrowing { duplicate_if_necessary: false },
        generate_all,
    });
}

macro_rules! exported_interface {
    ($(#[$doc:meta])* $module:ident, $interface:literal, $macro:literal, { $($with:tt)* }) => {
        $(#[$doc])*
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $interface,
                ownership: Borrowing { duplicate_if_necessary: false },
                pub_export_macro: true,
                export_macro_name: $macro,
                with: { $($with)* },
            });
        }
    };
}

exported_interface!(
    /// `lifecycle`, exported by every plugin.
    lifecycle, "package watchgate:sdk; world exports-lifecycle { export watchgate:plugin/lifecycle@0.1.0; }", "export_lifecycle",
    {
        "watchgate:plugin/startup@0.1.0": crate::bindings::imports::watchgate::plugin::startup,
        "watchgate:plugin/messages@0.1.0": crate::bindings::imports::watchgate::plugin::messages,
    }
);
exported_interface!(
    /// `redaction`.
    redaction, "package watchgate:sdk; world exports-redaction { export watchgate:plugin/redaction@0.1.0; }", "export_redaction",
    { "watchgate:plugin/messages@0.1.0": crate::bindings::imports::watchgate::plugin::messages }
);
exported_interface!(
    /// `derivation`.
    derivation, "package watchgate:sdk; world exports-derivation { export watchgate:plugin/derivation@0.1.0; }", "export_derivation",
    {
        "watchgate:plugin/operations@0.1.0": crate::bindings::imports::watchgate::plugin::operations,
        "watchgate:plugin/messages@0.1.0": crate::bindings::imports::watchgate::plugin::messages,
    }
);
exported_interface!(
    /// `collection`.
    collection, "package watchgate:sdk; world exports-collection { export watchgate:plugin/collection@0.1.0; }", "export_collection", {}
);
exported_interface!(
    /// `health`.
    health, "package watchgate:sdk; world exports-health { export watchgate:plugin/health@0.1.0; }", "export_health", {}
);
exported_interface!(
    /// `alerting`.
    alerting, "package watchgate:sdk; world exports-alerting { export watchgate:plugin/alerting@0.1.0; }", "export_alerting",
    { "watchgate:plugin/alerts@0.1.0": crate::bindings::imports::watchgate::plugin::alerts }
);
