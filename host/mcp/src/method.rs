//! The method names the specification defines, from 2024-11-05 to 2026-07-28 and the tasks extension.

/// `initialize`: opens a legacy session.
pub const INITIALIZE: &str = "initialize";
/// `server/discover`: what a modern server can do.
pub const SERVER_DISCOVER: &str = "server/discover";
/// `ping`: legacy, both directions.
pub const PING: &str = "ping";
/// `tools/list`.
pub const TOOLS_LIST: &str = "tools/list";
/// `tools/call`.
pub const TOOLS_CALL: &str = "tools/call";
/// `prompts/list`.
pub const PROMPTS_LIST: &str = "prompts/list";
/// `prompts/get`.
pub const PROMPTS_GET: &str = "prompts/get";
/// `resources/list`.
pub const RESOURCES_LIST: &str = "resources/list";
/// `resources/templates/list`.
pub const RESOURCES_TEMPLATES_LIST: &str = "resources/templates/list";
/// `resources/read`.
pub const RESOURCES_READ: &str = "resources/read";
/// `resources/subscribe`: legacy.
pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
/// `resources/unsubscribe`: legacy.
pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
/// `subscriptions/listen`: modern; its response stays open for hours.
pub const SUBSCRIPTIONS_LISTEN: &str = "subscriptions/listen";
/// `completion/complete`.
pub const COMPLETION_COMPLETE: &str = "completion/complete";
/// `logging/setLevel`: legacy.
pub const LOGGING_SET_LEVEL: &str = "logging/setLevel";
/// `sampling/createMessage`: a server's request to the client.
pub const SAMPLING_CREATE_MESSAGE: &str = "sampling/createMessage";
/// `elicitation/create`: a server's request to the client.
pub const ELICITATION_CREATE: &str = "elicitation/create";
/// `roots/list`: a server's request to the client.
pub const ROOTS_LIST: &str = "roots/list";
/// `tasks/get`.
pub const TASKS_GET: &str = "tasks/get";
/// `tasks/result`: 2025-11-25.
pub const TASKS_RESULT: &str = "tasks/result";
/// `tasks/update`: the tasks extension.
pub const TASKS_UPDATE: &str = "tasks/update";
/// `tasks/cancel`.
pub const TASKS_CANCEL: &str = "tasks/cancel";
/// `tasks/list`: 2025-11-25.
pub const TASKS_LIST: &str = "tasks/list";
/// `notifications/initialized`: legacy.
pub const NOTIFICATIONS_INITIALIZED: &str = "notifications/initialized";
/// `notifications/cancelled`.
pub const NOTIFICATIONS_CANCELLED: &str = "notifications/cancelled";
/// `notifications/progress`.
pub const NOTIFICATIONS_PROGRESS: &str = "notifications/progress";
/// `notifications/message`: a log line of the server.
pub const NOTIFICATIONS_MESSAGE: &str = "notifications/message";
/// `notifications/tools/list_changed`.
pub const NOTIFICATIONS_TOOLS_LIST_CHANGED: &str = "notifications/tools/list_changed";
/// `notifications/prompts/list_changed`.
pub const NOTIFICATIONS_PROMPTS_LIST_CHANGED: &str = "notifications/prompts/list_changed";
/// `notifications/resources/list_changed`.
pub const NOTIFICATIONS_RESOURCES_LIST_CHANGED: &str = "notifications/resources/list_changed";
/// `notifications/resources/updated`.
pub const NOTIFICATIONS_RESOURCES_UPDATED: &str = "notifications/resources/updated";
/// `notifications/roots/list_changed`: legacy, from the client.
pub const NOTIFICATIONS_ROOTS_LIST_CHANGED: &str = "notifications/roots/list_changed";
/// `notifications/tasks/status`: 2025-11-25.
pub const NOTIFICATIONS_TASKS_STATUS: &str = "notifications/tasks/status";
/// `notifications/tasks`: the tasks extension.
pub const NOTIFICATIONS_TASKS: &str = "notifications/tasks";
/// `notifications/elicitation/complete`: 2025-11-25.
pub const NOTIFICATIONS_ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
/// `notifications/subscriptions/acknowledged`: modern.
pub const NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Every method and notification above: the closed set of label values.
pub const ALL: &[&str] = &[
    INITIALIZE,
    SERVER_DISCOVER,
    PING,
    TOOLS_LIST,
    TOOLS_CALL,
    PROMPTS_LIST,
    PROMPTS_GET,
    RESOURCES_LIST,
    RESOURCES_TEMPLATES_LIST,
    RESOURCES_READ,
    RESOURCES_SUBSCRIBE,
    RESOURCES_UNSUBSCRIBE,
    SUBSCRIPTIONS_LISTEN,
    COMPLETION_COMPLETE,
    LOGGING_SET_LEVEL,
    SAMPLING_CREATE_MESSAGE,
    ELICITATION_CREATE,
    ROOTS_LIST,
    TASKS_GET,
    TASKS_RESULT,
    TASKS_UPDATE,
    TASKS_CANCEL,
    TASKS_LIST,
    NOTIFICATIONS_INITIALIZED,
    NOTIFICATIONS_CANCELLED,
    NOTIFICATIONS_PROGRESS,
    NOTIFICATIONS_MESSAGE,
    NOTIFICATIONS_TOOLS_LIST_CHANGED,
    NOTIFICATIONS_PROMPTS_LIST_CHANGED,
    NOTIFICATIONS_RESOURCES_LIST_CHANGED,
    NOTIFICATIONS_RESOURCES_UPDATED,
    NOTIFICATIONS_ROOTS_LIST_CHANGED,
    NOTIFICATIONS_TASKS_STATUS,
    NOTIFICATIONS_TASKS,
    NOTIFICATIONS_ELICITATION_COMPLETE,
    NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED,
];

/// The member of `params` that names what a method acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameField {
    /// `params.name`: a tool or a prompt.
    Name,
    /// `params.uri`: a resource.
    Uri,
    /// `params.ref.name` or `params.ref.uri`: what is being completed.
    Reference,
    /// `params.taskId`.
    TaskId,
}

/// The name as a constant when the specification defines it, else `None`.
pub fn known(method: &str) -> Option<&'static str> {
    ALL.iter().copied().find(|known| *known == method)
}

/// Whether the specification reserves the method for notifications.
pub fn is_notification(method: &str) -> bool {
    method.starts_with("notifications/")
}

/// Which member of `params` names the tool, prompt, resource or task, if the method has one.
pub fn name_field(method: &str) -> Option<NameField> {
    match method {
        TOOLS_CALL | PROMPTS_GET => Some(NameField::Name),
        RESOURCES_READ | RESOURCES_SUBSCRIBE | RESOURCES_UNSUBSCRIBE => Some(NameField::Uri),
        COMPLETION_COMPLETE => Some(NameField::Reference),
        TASKS_GET | TASKS_RESULT | TASKS_UPDATE | TASKS_CANCEL => Some(NameField::TaskId),
        _ => None,
    }
}

/// Whether the method's parameters name a tool, prompt, resource or task.
pub fn carries_name(method: &str) -> bool {
    name_field(method).is_some()
}

#[cfg(test)]
mod tests {
    use super::{ALL, carries_name, is_notification, known};

    #[test]
    fn every_defined_method_is_known_once() {
        for method in ALL {
            assert_eq!(known(method), Some(*method));
            assert_eq!(ALL.iter().filter(|other| other == &method).count(), 1, "{method}");
            assert!(!(is_notification(method) && carries_name(method)), "{method}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for method in ["", "tools", "tools/calls", "TOOLS/CALL", "skills/list", "notifications/"] {
            assert_eq!(known(method), None, "{method}");
        }
    }
}
