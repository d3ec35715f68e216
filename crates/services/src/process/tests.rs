//! Real processes: their end, what they inherit, what they can reach, and how a later server finds them.

use super::*;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

fn shell(processes: &Processes, token: &str, script: &str, life: Life) -> Launch {
    let uid = processes.identities().of(token).unwrap();
    let temporary = processes.area().temporary(token, uid).unwrap();
    let output = processes.records_directory().join(format!("{token}.log"));
    Launch {
        token: token.to_owned(),
        owner: token.to_owned(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        directory: temporary.clone(),
        temporary,
        uid,
        limits: Limits { memory_bytes_max: Some(1 << 30), open_files_max: 64 },
        output: if life == Life::Supervised { Output::File(output) } else { Output::Piped },
        life,
    }
}

async fn text(running: &mut Running) -> String {
    use tokio::io::AsyncReadExt;
    let pipe = OwnedFd::from(running.stdout.take().unwrap());
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(pipe).unwrap();
    let mut text = String::new();
    pipe.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_process_starts_with_nothing_but_what_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    let script = "env | cut -d= -f1 | sort | tr '\\n' ' '; ulimit -n; ulimit -c";
    let mut running = processes.launch(shell(&processes, "t1", script, Life::EndsWithServer)).await.unwrap();
    assert_eq!(text(&mut running).await, "PASSO_PROCESS PATH PWD 64\n0\n");
    assert_eq!(running.wait().await, Exit::Code(0));
    assert!(processes.records().unwrap().is_empty(), "the record of an ended process is gone");
}

#[tokio::test]
async fn killing_a_process_kills_its_whole_group() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    let script = "(exec 1>&-; sleep 1000) & echo $!; exec 1>&-; wait";
    let mut running = processes.launch(shell(&processes, "t2", script, Life::EndsWithServer)).await.unwrap();
    let child: u32 = text(&mut running).await.trim().parse().unwrap();
    assert!(table::start_time(child).is_some());
    running.kill();
    assert_eq!(running.wait().await, Exit::Signal(libc::SIGKILL));
    while table::start_time(child).is_some() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_descendant_that_left_the_group_ends_too() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    let script = "setsid sh -c 'echo $$; exec 1>&-; exec sleep 1000' & exec 1>&-; wait";
    let mut running = processes.launch(shell(&processes, "t9", script, Life::EndsWithServer)).await.unwrap();
    let descendant: u32 = text(&mut running).await.trim().parse().unwrap();
    running.kill();
    running.wait().await;
    assert!(table::start_time(descendant).is_none());
}

#[tokio::test]
async fn a_program_that_is_not_there_leaves_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    let mut launch = shell(&processes, "t3", "", Life::Supervised);
    launch.program = "/no/such/program".into();
    let error = processes.launch(launch).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(processes.records().unwrap().is_empty());
}

#[tokio::test]
async fn a_supervised_process_is_found_again_with_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let running = processes.launch(shell(&processes, "t4", script, Life::Supervised)).await.unwrap();
    let log = processes.records_directory().join("t4.log");
    while std::fs::read_to_string(&log).unwrap_or_default() != "up\n" {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(processes);
    // Another server on the same data.
    let processes = Processes::recover(directory.path(), None).unwrap();
    let record = processes.find("t4").unwrap().expect("it was kept");
    assert!(record.is_running());
    record.terminate();
    assert_eq!(running.wait().await, Exit::Code(7));
    assert_eq!(record.exit_code(), Some(7));
    assert!(!record.anything_runs());
}

#[tokio::test]
async fn a_supervised_process_whose_pid_was_not_noted_runs_until_its_exit_code_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    // A program that clears its environment cannot be found by its token.
    let script = "exec env -i sh -c 'echo up; sleep 0.3; exit 9'";
    let running = processes.launch(shell(&processes, "t10", script, Life::Supervised)).await.unwrap();
    let noted = Record { pid: None, start_time: None, ..running.record.clone() };
    noted.write(processes.records_directory()).unwrap();
    drop(processes);
    let processes = Processes::recover(directory.path(), None).unwrap();
    let record = processes.find("t10").unwrap().expect("it was kept");
    while record.is_running() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(record.exit_code(), Some(9), "the code is there as soon as it does not run any more");
    running.wait().await;
}

#[tokio::test]
async fn orphans_are_ended_at_the_next_start_and_a_recycled_pid_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    let orphan = processes.launch(shell(&processes, "t5", "sleep 1000", Life::EndsWithServer)).await.unwrap();
    let other = processes.launch(shell(&processes, "t6", "sleep 1000", Life::EndsWithServer)).await.unwrap();
    let stranger = Record {
        token: "somebody-else".to_owned(),
        start_time: Some("1".to_owned()),
        ..other.record.clone()
    };
    processes.forget("t6");
    stranger.write(processes.records_directory()).unwrap();
    let reopened = Processes::recover(directory.path(), None).unwrap();
    assert_eq!(orphan.wait().await, Exit::Signal(libc::SIGKILL));
    assert_eq!(other.exited(), None, "a process with the same pid and another start time lives on");
    assert!(reopened.records().unwrap().is_empty());
    other.kill();
    other.wait().await;
}

#[tokio::test]
async fn a_hostile_process_reads_neither_the_store_nor_anothers_environment() {
    let directory = tempfile::tempdir().unwrap();
    let processes = Processes::open(directory.path()).unwrap();
    if processes.identities().sample().is_none() {
        // Without root all run as one user, and the operator is told so.
        assert!(processes.identities().warning().is_some());
        return;
    }
    let store = directory.path().join("store.db");
    std::fs::write(&store, "secret").unwrap();
    let victim = processes.launch(shell(&processes, "t7", "sleep 1000", Life::EndsWithServer)).await.unwrap();
    let pid = victim.record.pid.unwrap();
    let script = format!(
        "cat {} /proc/{pid}/environ /proc/{}/environ 2>/dev/null | wc -c; ls {} 2>/dev/null; kill -9 {pid} || echo no",
        store.display(),
        std::process::id(),
        processes.area().temporary("t7", victim.record.uid).unwrap().display()
    );
    let mut hostile = processes.launch(shell(&processes, "t8", &script, Life::EndsWithServer)).await.unwrap();
    assert_eq!(text(&mut hostile).await, "0\nno\n");
    victim.kill();
    victim.wait().await;
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = Processes::open(directory.path()).unwrap();
    let error = Processes::open(directory.path()).unwrap_err().to_string();
    assert!(error.starts_with("another server is using the data directory"), "{error}");
    drop(first);
    assert!(Processes::open(directory.path()).is_ok());
}
