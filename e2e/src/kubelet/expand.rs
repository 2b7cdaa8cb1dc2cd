//! `$(NAME)` in commands, arguments and environment variables, expanded as Kubernetes does it.

use std::collections::BTreeMap;

/// Replaces `$(NAME)` by the variable's value. A reference to an unknown variable stays as it is, and `$$` is a
/// dollar sign that starts no reference.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = escaped;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|it| it.split_once(')')) {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = behind;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let variables = BTreeMap::from([("POD_IP".to_owned(), "127.66.1.2".to_owned())]);
        assert_eq!(expand(text, &variables), expected);
    }

    #[test]
    fn expands_as_kubernetes_does() {
        check("--listen=$(POD_IP):9443", "--listen=127.66.1.2:9443");
        check("$(POD_IP)$(POD_IP)", "127.66.1.2127.66.1.2");
        check("$(NOBODY)", "$(NOBODY)");
        check("$$(POD_IP)", "$(POD_IP)");
        check("$POD_IP ${POD_IP}", "$POD_IP ${POD_IP}");
        check("$(POD_IP", "$(POD_IP");
        check("100$", "100$");
        check("", "");
    }
}
