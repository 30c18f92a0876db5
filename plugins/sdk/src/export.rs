//! `export_plugin!`: turns a type with the traits of its kinds into the exports of a component.

/// Exports a plugin: `export_plugin!(MyType: redaction)`, or of several kinds `export_plugin!(MyType: redaction, derivation, collection)`.
///
/// The component exports `lifecycle` and exactly the interfaces named. Use it once in a crate.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty: $($kind:ident),+ $(,)?) => {
        const _: () = {
            ::std::thread_local! {
                // A component has one thread and is never entered twice at once, so the borrows below cannot meet.
                static PLUGIN: ::core::cell::RefCell<::core::option::Option<$plugin>> = const { ::core::cell::RefCell::new(None) };
            }

            fn with_plugin<R>(call: impl FnOnce(&mut $plugin) -> R) -> R {
                PLUGIN.with_borrow_mut(|plugin| call(plugin.as_mut().expect("the gateway calls start before anything else")))
            }

            struct Exported;

            impl $crate::bindings::lifecycle::exports::watchgate::plugin::lifecycle::Guest for Exported {
                fn start(setup: &$crate::Setup) -> ::core::result::Result<(), ::std::string::String> {
                    let plugin = <$plugin as $crate::Plugin>::start(setup)?;
                    PLUGIN.set(Some(plugin));
                    Ok(())
                }
            }
            #[cfg(target_family = "wasm")]
            $crate::bindings::lifecycle::export_lifecycle!(Exported with_types_in $crate::bindings::lifecycle);
            #[cfg(not(target_family = "wasm"))]
            const _: () = $crate::__unused(<Exported as $crate::bindings::lifecycle::exports::watchgate::plugin::lifecycle::Guest>::start);
            $($crate::__export_kind!($kind);)+
        };
    };
}

/// Stands for the exports where there is no component: their names are not valid symbols of a native library.
#[doc(hidden)]
pub const fn __unused<F: Copy>(_function: F) {}

/// One kind of `export_plugin!`; it relies on `Exported` and `with_plugin` there.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_kind {
    (redaction) => {
        impl $crate::bindings::redaction::exports::watchgate::plugin::redaction::Guest for Exported {
            fn redact(message: &$crate::Message) -> $crate::Verdict {
                with_plugin(|plugin| $crate::RedactionPolicy::redact(plugin, message))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::redaction::export_redaction!(Exported with_types_in $crate::bindings::redaction);
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__unused(<Exported as $crate::bindings::redaction::exports::watchgate::plugin::redaction::Guest>::redact);
    };
    (derivation) => {
        impl $crate::bindings::derivation::exports::watchgate::plugin::derivation::Guest for Exported {
            fn observe(operation: &$crate::Operation) {
                with_plugin(|plugin| $crate::MetricDerivation::observe(plugin, operation))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::derivation::export_derivation!(Exported with_types_in $crate::bindings::derivation);
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__unused(<Exported as $crate::bindings::derivation::exports::watchgate::plugin::derivation::Guest>::observe);
    };
    (collection) => {
        impl $crate::bindings::collection::exports::watchgate::plugin::collection::Guest for Exported {
            fn collect() {
                with_plugin(|plugin| $crate::MetricCollection::collect(plugin))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::collection::export_collection!(Exported with_types_in $crate::bindings::collection);
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__unused(<Exported as $crate::bindings::collection::exports::watchgate::plugin::collection::Guest>::collect);
    };
    (health) => {
        impl $crate::bindings::health::exports::watchgate::plugin::health::Guest for Exported {
            fn check() -> $crate::Report {
                with_plugin(|plugin| $crate::HealthCheck::check(plugin))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::health::export_health!(Exported with_types_in $crate::bindings::health);
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__unused(<Exported as $crate::bindings::health::exports::watchgate::plugin::health::Guest>::check);
    };
    (alerting) => {
        impl $crate::bindings::alerting::exports::watchgate::plugin::alerting::Guest for Exported {
            fn notify(alert: &$crate::Alert) -> ::core::result::Result<(), ::std::string::String> {
                with_plugin(|plugin| $crate::AlertAction::notify(plugin, alert))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::alerting::export_alerting!(Exported with_types_in $crate::bindings::alerting);
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::__unused(<Exported as $crate::bindings::alerting::exports::watchgate::plugin::alerting::Guest>::notify);
    };
    ($other:ident) => {
        ::core::compile_error!(::core::concat!(
            "`",
            ::core::stringify!($other),
            "` is no plugin kind; the kinds are redaction, derivation, collection, health and alerting"
        ));
    };
}
