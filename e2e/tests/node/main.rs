//! Bailiwick as it is shipped, on a real node: the image of the Dockerfile, the chart with default values, kubelet, containerd
//! and kube-proxy.
//!
//! The tests share one node and run in this order, because they tell the life of one installation. Where the machine can't
//! run a node, they are skipped, and the last line counts them.

#![allow(
    clippy::print_stderr,
    reason = "who runs the tests has to learn why they were skipped"
)]

mod cold;
mod footprint;
mod image;
mod installation;
mod load;
mod machine;
mod outage;
mod placement;
mod processes;
mod refusals;
mod site;
mod tool;
mod upgrade;
mod uses;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;
use bailiwick_e2e::node;
use libtest_mimic::{Arguments, Trial};
use site::{on_node, on_node_first, told};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One node, one story.
    arguments.test_threads = Some(1);
    let mut trials = trials();
    if let Some(missing) = node::missing() {
        eprintln!("{} tests on a real node are skipped: {missing}", trials.len());
        trials = trials.into_iter().map(|it| it.with_ignored_flag(true)).collect();
    } else {
        machine::remember();
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Before the process ends: the node is a value in a static, which nobody drops.
    if let Err(error) = site::tear_down() {
        eprintln!("error: the node can't be ended: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trials() -> Vec<Trial> {
    vec![
        on_node_first(
            "a_chart_with_default_values_is_ready_and_decides",
            installation::install,
        ),
        on_node(
            "the_image_holds_three_programs",
            image::the_image_holds_three_programs,
        ),
        on_node("containers_are_locked_down", image::containers_are_locked_down),
        on_node("pods_of_every_controller_carry_the_label", workloads::controllers),
        on_node("labels_are_verified", workloads::labels_are_verified),
        on_node(
            "pods_run_where_their_tenant_says",
            placement::pods_run_where_their_tenant_says,
        ),
        on_node("pods_are_used_as_ever", uses::pods_are_used_as_ever),
        on_node("the_kubelet_does_its_work_in_tenants_namespaces", uses::kubelet),
        on_node(
            "helm_test_asks_the_webhook_through_its_service",
            installation::helm_test,
        ),
        on_node(
            "no_review_fails_while_the_webhook_is_rolled_out",
            outage::rolling_update,
        ),
        on_node("a_killed_webhook_opens_nothing", outage::killed_pod),
        on_node("a_hung_webhook_is_restarted", outage::hung_pod),
        on_node("a_drain_leaves_a_webhook", outage::drain),
        on_node(
            "tenants_live_through_upgrade_and_rollback",
            upgrade::upgrade_and_rollback,
        ),
        on_node(
            "tenants_live_through_uninstall_and_reinstall",
            installation::uninstall_and_reinstall,
        ),
        on_machine("a_node_runs_crashes_and_ends_without_a_trace", machine::a_life),
        on_machine(
            "what_killed_runs_left_is_swept",
            machine::what_killed_runs_left_is_swept,
        ),
        on_machine("taken_addresses_are_named", refusals::taken_addresses_are_named),
        on_machine(
            "what_is_missing_is_named_first",
            refusals::what_is_missing_is_named_first,
        ),
        on_machine("skipped_tests_are_counted", refusals::skipped_tests_are_counted),
        // It began with the controllers' Pods, and takes eight minutes.
        on_node("projected_tokens_are_renewed", workloads::tokens_are_renewed),
        on_node("a_cluster_starts_cold_with_the_webhook_in_it", cold::cold_start),
        on_machine("nothing_of_the_node_is_left", machine::nothing_is_left),
    ]
}

/// A test that needs the machine, and not the shared node.
fn on_machine(name: &'static str, test: fn() -> Result<()>) -> Trial {
    Trial::test(name, move || told(test()))
}
