"""Each mistake here, planted in the reference, is caught by the test of the rule that it breaks: the tests can fail."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from raft import InstallSnapshotArgs, RequestVoteArgs
from tester.run import Options, reference_root
from tests.harness.paper import (
    test_figure_2,
    test_figure_2_servers,
    test_figure_13,
    test_figures_7_and_8,
    test_interface,
    test_section_5,
    test_section_7,
    test_stable_storage,
)
from tests.harness.paper.lone_server import PROGRAMS, Bench, entries, heartbeat


@dataclass(frozen=True)
class Mistake:
    """In raft/`file`, the one occurrence of `before` becomes `after`; `test(bench, **arguments)` must fail."""

    before: str
    after: str
    test: Callable[..., None]
    arguments: dict[str, Any] = field(default_factory=dict)
    file: str = "raft.py"


MISTAKES = {
    # ------------------------------------------------------------------ votes
    "votes in an older term": Mistake(
        "        if args.term < self.current_term:  # 1\n            return False\n",
        "",
        test_figure_2.test_a_candidate_of_an_older_term_is_refused,
    ),
    "votes twice in a term": Mistake(
        "self.voted_for not in (None, args.candidate_id)",
        "False",
        test_figure_2.test_a_second_candidate_of_the_same_term_is_refused,
    ),
    "does not repeat its vote": Mistake(
        "self.voted_for not in (None, args.candidate_id)",
        "self.voted_for is not None",
        test_figure_2.test_the_same_candidate_gets_the_vote_again,
    ),
    "votes whatever the candidate's log": Mistake(
        "        return is_at_least_as_up_to_date(",
        "        return True or is_at_least_as_up_to_date(",
        test_figure_2.test_a_vote_is_refused_to_a_candidate_whose_log_is_older,
        {"last": (2, 2)},
    ),
    "compares logs by length": Mistake(
        "(last_log_term, last_log_index) >= (than_last_log_term, than_last_log_index)",
        "last_log_index >= than_last_log_index",
        test_figure_2.test_a_vote_is_refused_to_a_candidate_whose_log_is_older,
        {"last": (9, 1)},
        file="rules.py",
    ),
    "votes only for longer logs": Mistake(
        "(last_log_term, last_log_index) >= (than_last_log_term, than_last_log_index)",
        "(last_log_term, last_log_index) > (than_last_log_term, than_last_log_index)",
        test_figure_2.test_a_vote_is_granted_to_a_candidate_whose_log_is_as_good,
        {"last": (3, 2)},
        file="rules.py",
    ),
    "frees its vote at each heartbeat": Mistake(
        "        if term > self.current_term:\n            self.current_term = term\n            self.voted_for = None",
        "        self.voted_for = None\n        if term > self.current_term:\n            self.current_term = term",
        test_figure_2.test_a_heartbeat_of_the_same_term_does_not_free_the_vote,
    ),
    "keeps its vote in a new term": Mistake(
        "            self.current_term = term\n            self.voted_for = None\n",
        "            self.current_term = term\n",
        test_figure_2.test_each_term_has_a_vote_of_its_own,
    ),
    "counts votes of an older term": Mistake(
        "if self.role is not Role.CANDIDATE or args.term != self.current_term:",
        "if self.role is not Role.CANDIDATE:",
        test_figure_2_servers.test_a_vote_of_an_older_election_does_not_count,
    ),
    "counts refusals as votes": Mistake(
        "if reply.vote_granted:",
        "if True:",
        test_figure_2_servers.test_a_vote_refused_does_not_count,
    ),
    "keeps the votes of its last candidacy": Mistake(
        "        self.votes = {self.me}\n",
        "        self.votes.add(self.me)\n",
        test_section_5.test_a_split_vote_is_decided_in_a_later_term,
    ),
    "leads with half of the votes": Mistake(
        "return servers // 2 + 1",
        "return servers // 2",
        test_figure_2_servers.test_a_candidate_with_a_majority_leads,
        {"servers": 5, "needed": 2},
        file="rules.py",
    ),
    "asks those again who have answered": Mistake(
        "self.role is Role.CANDIDATE and peer not in self.voters_heard",
        "self.role is Role.CANDIDATE",
        test_figure_2_servers.test_a_candidate_asks_again_who_has_not_answered_and_only_them,
    ),
    # ------------------------------------------------------------------ the election timer, roles
    "resets its timer for refused candidates": Mistake(
        "        if args.term > self.current_term:  # All Servers\n",
        "        self._reset_election_timer_locked()\n        if args.term > self.current_term:\n",
        test_figure_2_servers.test_a_vote_refused_does_not_reset_the_timer,
        {"request_": RequestVoteArgs(3, 1, 0, 0)},
    ),
    "does not reset its timer for a vote": Mistake(
        "        self._reset_election_timer_locked()\n        return True",
        "        return True",
        test_figure_2_servers.test_a_vote_granted_resets_the_timer,
    ),
    "resets its timer for an old leader": Mistake(
        "            reply, saved = self._append_locked(args), self.latest_save",
        "            self._reset_election_timer_locked()\n"
        "            reply, saved = self._append_locked(args), self.latest_save",
        test_figure_2_servers.test_append_entries_of_an_old_leader_does_not_reset_the_timer,
    ),
    "always waits the same time": Mistake(
        "random.uniform(*ELECTION_TIMEOUT)",
        "ELECTION_TIMEOUT[0]",
        test_section_5.test_election_timeouts_are_drawn_anew_each_time,
    ),
    "stays a candidate beside its term's leader": Mistake(
        "        self._become_follower_locked(term)\n",
        "        if term > self.current_term:\n            self._become_follower_locked(term)\n",
        test_figure_2_servers.test_a_candidate_yields_to_the_leader_of_its_own_term,
    ),
    "takes no notice of newer terms in replies": Mistake(
        "if reply.term > self.current_term:  # All Servers",
        "if reply.term < 0:",
        test_figure_2_servers.test_a_reply_of_a_newer_term_makes_a_follower,
        {"kind": "AppendEntries"},
    ),
    "waits with its first heartbeat": Mistake(
        "        self._send_now_locked()  # heartbeats at once keep others from standing\n",
        "        self.next_send = [time.monotonic() + HEARTBEAT_INTERVAL] * len(self.peers)\n",
        test_figure_2_servers.test_a_new_leader_sends_heartbeats_at_once,
    ),
    "says the wrong end of its log": Mistake(
        "RequestVoteArgs(self.current_term, self.me, log.last_index, log.last_term)",
        "RequestVoteArgs(self.current_term, self.me, len(log), log.last_term)",
        test_figure_13.test_the_snapshot_is_saved,
    ),
    "hides the term of its last entry": Mistake(
        "RequestVoteArgs(self.current_term, self.me, log.last_index, log.last_term)",
        "RequestVoteArgs(self.current_term, self.me, log.last_index, self.current_term)",
        test_figure_2_servers.test_a_candidate_begins_a_new_term_and_asks_everybody,
    ),
    "stands only once": Mistake(
        "        else:\n            self._become_candidate_locked()\n",
        "        elif self.role is Role.CANDIDATE:\n            self._reset_election_timer_locked()\n"
        "        else:\n            self._become_candidate_locked()\n",
        test_figure_2_servers.test_a_candidate_whose_election_fails_stands_again_in_the_next_term,
    ),
    "begins in term 1": Mistake(
        "        self.current_term = 0\n",
        "        self.current_term = 1\n",
        test_figure_2.test_a_new_server_is_a_follower_in_term_0_with_an_empty_log,
    ),
    "votes for nobody": Mistake(
        "self.voted_for not in (None, args.candidate_id)",
        "self.voted_for != args.candidate_id",
        test_figure_2.test_the_first_candidate_that_asks_gets_the_vote,
    ),
    "does not reset its timer for its leader": Mistake(
        "        self._become_follower_locked(term)\n        self._reset_election_timer_locked()\n",
        "        self._become_follower_locked(term)\n",
        test_figure_2_servers.test_append_entries_of_the_current_leader_resets_the_timer,
        {"message": heartbeat(3)},
    ),
    "does not reset its timer for a snapshot": Mistake(
        "        self._follow_leader_locked(args.term)\n        index, term",
        "        self._become_follower_locked(args.term)\n        index, term",
        test_figure_13.test_a_snapshot_of_the_current_leader_resets_the_timer,
    ),
    "resets its timer for an old leader's snapshot": Mistake(
        "            self._install_locked(args)\n",
        "            self._reset_election_timer_locked()\n            self._install_locked(args)\n",
        test_figure_13.test_a_snapshot_of_an_old_leader_does_not_reset_the_timer,
    ),
    "waits too long before it stands": Mistake(
        "random.uniform(*ELECTION_TIMEOUT)",
        "2 * random.uniform(*ELECTION_TIMEOUT)",
        test_figure_2_servers.test_a_follower_that_hears_nothing_stands,
    ),
    "stands again while it leads": Mistake(
        "        if self.role is Role.LEADER:\n            self._reset_election_timer_locked()\n        else:\n",
        "        if self.role is not None:\n            self.role = Role.CANDIDATE\n",
        test_figure_2_servers.test_a_leader_does_not_stand,
    ),
    "sends heartbeats as a follower": Mistake(
        "return self.role is Role.LEADER or (",
        "return self.role is not Role.CANDIDATE or (",
        test_figure_2_servers.test_a_follower_of_a_living_leader_is_passive,
    ),
    "goes on leading beside a newer leader": Mistake(
        "return self.role is Role.LEADER or (",
        "return self.role is not Role.CANDIDATE or (",
        test_figure_2_servers.test_a_leader_that_steps_down_sends_nothing_more,
    ),
    "waits for a reply for ever": Mistake(
        "request, timeout=RPC_TIMEOUT)",
        "request, timeout=None)",
        test_section_5.test_a_message_without_an_answer_is_sent_again,
        {"role": "leader"},
    ),
    "gives up calls that may still be answered": Mistake(
        "request, timeout=RPC_TIMEOUT)",
        "request, timeout=0.001)",
        test_section_5.test_at_most_one_message_to_a_peer_is_under_way,
    ),
    "calls one peer after the other": Mistake(
        "            reply = self.peers[peer].call(",
        "            time.sleep(0.01 * peer)\n            reply = self.peers[peer].call(",
        test_section_5.test_peers_are_called_in_parallel,
    ),
    # ------------------------------------------------------------------ the follower's log
    "takes entries of an older term": Mistake(
        "        if args.term < self.current_term:  # 1\n            return AppendEntriesReply",
        "        if args.term < 0:\n            return AppendEntriesReply",
        test_figure_2.test_entries_of_an_older_term_are_refused,
        {"sent": []},
    ),
    "does not compare the previous term": Mistake(
        "elif log.term_at(prev_log_index) != args.prev_log_term:  # 2",
        "elif entries and not entries:",
        test_figure_2.test_entries_are_refused_where_the_terms_before_them_differ,
    ),
    "takes every heartbeat": Mistake(
        "elif log.term_at(prev_log_index) != args.prev_log_term:  # 2",
        "elif entries and log.term_at(prev_log_index) != args.prev_log_term:",
        test_figure_2.test_a_heartbeat_is_refused_like_any_message_that_does_not_fit,
        {"prev": (2, 2)},
    ),
    "cuts its log at every message": Mistake(
        "        for offset, entry in enumerate(entries):\n",
        "        if prev_log_index < log.last_index:\n            log.truncate(prev_log_index + 1)\n"
        "        for offset, entry in enumerate(entries):\n",
        test_figure_2.test_a_delayed_shorter_message_removes_nothing,
        {"prev": (1, 1), "sent": entries(1, first=2)},
    ),
    "keeps what follows a conflict": Mistake(
        "                log.truncate(index)\n",
        "                tail = log.entries(index + len(entries) - offset, 99)\n                log.truncate(index)\n"
        "                entries = entries + tail\n",
        test_figure_2.test_a_conflicting_entry_is_removed_with_all_that_follow_it,
    ),
    "commits what it has not checked": Mistake(
        "min(args.leader_commit, prev_log_index + len(entries))",
        "min(args.leader_commit, log.last_index)",
        test_figure_2.test_nothing_is_committed_beyond_what_the_message_has_checked,
    ),
    "commits what it appends": Mistake(
        "min(args.leader_commit, prev_log_index + len(entries))",
        "prev_log_index + len(entries)",
        test_figure_2_servers.test_what_is_not_committed_is_not_applied,
    ),
    "takes its commit index back": Mistake(
        "        if index > self.commit_index:\n            self.commit_index = index\n",
        "        if index != self.commit_index:\n            self.commit_index = self.last_applied = index\n",
        test_figure_2.test_the_commit_index_never_falls,
    ),
    "does not name where a term begins": Mistake(
        "conflict_index=log.first_index_of_term_at(prev_log_index)",
        "conflict_index=prev_log_index",
        test_section_5.test_a_follower_names_the_first_index_of_the_conflicting_term,
        {"log": [1, 2, 2, 2, 3, 3], "prev": (4, 3), "hint": (2, 2)},
    ),
    # ------------------------------------------------------------------ the leader's side
    "commits entries of older terms by counting": Mistake(
        "if index > self.commit_index and self.log.term_at(index) == self.current_term:",
        "if index > self.commit_index:",
        test_figures_7_and_8.test_an_entry_of_an_older_term_on_a_majority_can_still_be_lost_as_in_figure_8,
    ),
    "commits on one copy less": Mistake(
        "sorted(match_index)[len(match_index) - majority(len(match_index))]",
        "sorted(match_index)[len(match_index) // 2 + 1]",
        test_figure_2_servers.test_a_command_is_applied_once_a_majority_has_it,
        {"servers": 5, "needed": 2},
        file="rules.py",
    ),
    "goes back one entry at a time": Mistake(
        "        return max(self.match_index[peer] + 1, min(next_index, args.prev_log_index))",
        "        return max(1, args.prev_log_index)",
        test_figures_7_and_8.test_a_new_leader_repairs_the_logs_of_figure_7,
    ),
    "believes every hint": Mistake(
        "min(next_index, args.prev_log_index)",
        "next_index",
        test_figure_2_servers.test_a_leader_always_gets_to_the_start_of_the_log,
    ),
    "counts a success for all that it has now": Mistake(
        "self._matched_locked(peer, args.prev_log_index + len(args.entries))",
        "self._matched_locked(peer, self.log.last_index)",
        test_figure_2_servers.test_a_success_counts_for_what_its_message_held,
    ),
    "counts what followers had in an earlier term": Mistake(
        "        self.match_index = [0] * len(self.peers)\n",
        "",
        test_figure_2.test_a_new_leader_takes_it_that_nobody_has_anything,
    ),
    "keeps a command for the next heartbeat": Mistake(
        "            self._save_locked()\n            self._send_now_locked()\n",
        "            self._save_locked()\n",
        test_figure_2_servers.test_a_command_is_appended_and_sent_to_everybody_at_once,
    ),
    "starts a thread for each command": Mistake(
        "            self._save_locked()\n            self._send_now_locked()\n",
        "            self._save_locked()\n            self._send_now_locked()\n"
        '            self._spawn("sender", time.sleep, 1000.0)\n',
        test_section_5.test_threads_do_not_become_more,
    ),
    # ------------------------------------------------------------------ stable storage
    "does not save its vote": Mistake(
        "            self.voted_for = args.candidate_id\n            self._save_locked()\n",
        "            self.voted_for = args.candidate_id\n",
        test_figure_2.test_a_vote_survives_a_restart,
    ),
    "does not save a new term": Mistake(
        "            self.voted_for = None\n            self._save_locked()\n",
        "            self.voted_for = None\n",
        test_figure_2_servers.test_a_request_of_a_newer_term_makes_a_follower,
        {"role": "leader", "request_": heartbeat(9, leader=2)},
    ),
    "does not save its candidacy": Mistake(
        "        self.voted_for = self.me\n        self._save_locked()\n",
        "        self.voted_for = self.me\n",
        test_figure_2.test_the_vote_of_a_candidate_for_itself_survives_a_restart,
    ),
    "does not save entries": Mistake(
        "                log.append(new)\n            self._save_locked()\n",
        "                log.append(new)\n",
        test_figure_2.test_the_log_survives_a_restart,
    ),
    "votes before the vote is durable": Mistake(
        "reply, saved = RequestVoteReply(self.current_term, granted), self.latest_save",
        "reply, saved = RequestVoteReply(self.current_term, granted), None",
        test_stable_storage.test_a_reply_waits_for_the_save_of_what_it_promises,
        {"request_": RequestVoteArgs(2, 1, 9, 2)},
    ),
    "waits for its own save only": Mistake(
        "            granted = self._grant_vote_locked(args)\n"
        "            reply, saved = RequestVoteReply(self.current_term, granted), self.latest_save",
        "            before = self.latest_save\n            granted = self._grant_vote_locked(args)\n"
        "            saved = self.latest_save if self.latest_save is not before else None\n"
        "            reply = RequestVoteReply(self.current_term, granted)",
        test_stable_storage.test_a_reply_that_saves_nothing_waits_for_what_is_being_saved,
        {"first": RequestVoteArgs(3, 1, 9, 2), "second": RequestVoteArgs(3, 1, 9, 2)},
    ),
    "acknowledges entries before they are durable": Mistake(
        "reply, saved = self._append_locked(args), self.latest_save",
        "reply, saved = self._append_locked(args), None",
        test_stable_storage.test_a_reply_waits_for_the_save_of_what_it_promises,
        {"request_": heartbeat(2, (2, 2), sent=entries(2, first=3))},
    ),
    "acknowledges a snapshot before it is durable": Mistake(
        "reply, saved = InstallSnapshotReply(self.current_term), self.latest_save",
        "reply, saved = InstallSnapshotReply(self.current_term), None",
        test_stable_storage.test_a_reply_waits_for_the_save_of_what_it_promises,
        {"request_": InstallSnapshotArgs(2, 1, 5, 2, b"state")},
    ),
    "asks for votes before its own is durable": Mistake(
        "request, saved = self._request_locked(peer), self.latest_save",
        "request, saved = self._request_locked(peer), None",
        test_stable_storage.test_a_candidate_asks_for_votes_when_its_own_vote_is_durable,
    ),
    "hands out a snapshot before it is durable": Mistake(
        "        self._wait_until_durable(saved)  # else",
        "        # else",
        test_stable_storage.test_the_service_is_given_a_snapshot_when_it_is_durable,
    ),
    "saves at each heartbeat": Mistake(
        "        self.next_send[peer] = time.monotonic() + HEARTBEAT_INTERVAL\n",
        "        self.next_send[peer] = time.monotonic() + HEARTBEAT_INTERVAL\n        self._save_locked()\n",
        test_stable_storage.test_heartbeats_of_a_leader_wait_for_nothing_that_they_do_not_say,
    ),
    # ------------------------------------------------------------------ snapshots
    "goes back to an old snapshot": Mistake(
        "        if index <= self.commit_index:\n            return  # a late one",
        "        if index < 0:\n            return  # a late one",
        test_figure_13.test_a_snapshot_of_what_is_committed_here_is_ignored,
        {"index": 1},
    ),
    "keeps a log that conflicts with the snapshot": Mistake(
        "if index <= self.log.last_index and self.log.term_at(index) == term:",
        "if index <= self.log.last_index:",
        test_figure_13.test_a_log_that_conflicts_with_the_snapshot_is_discarded,
    ),
    "discards what follows the snapshot": Mistake(
        "            self.log.compact(index)  # 6",
        "            self.log = Log(index, term)  # 6",
        test_figure_13.test_entries_behind_a_snapshot_that_fits_are_kept,
    ),
    "does not tell the service of the snapshot": Mistake(
        "        self.snapshot_pending = True  # 8\n",
        "        self.last_applied = index\n",
        test_figure_13.test_the_state_machine_starts_over_from_the_snapshot,
    ),
    "saves the log without the snapshot": Mistake(
        "        self._save_locked(args.data)  # 5\n",
        "        self._save_locked()\n",
        test_figure_13.test_the_snapshot_is_saved,
    ),
    "saves its own snapshot in two steps": Mistake(
        "            self._save_locked(snapshot)\n",
        "            self._save_locked()\n            self._save_locked(snapshot)\n",
        test_section_7.test_state_and_snapshot_change_in_one_save,
    ),
    "lets the service compact what it was not given": Mistake(
        "            if index > self.last_applied:\n",
        "            if index > self.log.last_index:\n",
        test_section_7.test_the_service_cannot_compact_what_it_was_not_given,
    ),
    "answers a snapshot with the term that it ends in": Mistake(
        "InstallSnapshotReply(self.current_term), self.latest_save",
        "InstallSnapshotReply(args.last_included_term), self.latest_save",
        test_figure_13.test_a_snapshot_of_the_current_term_is_answered_with_it,
    ),
    "forgets its snapshot in a restart": Mistake(
        "            self.snapshot_data = self.persister.read_snapshot()\n",
        "",
        test_section_7.test_a_leader_that_restarted_sends_the_snapshot_it_had,
    ),
    "counts a snapshot for the whole log": Mistake(
        "self._matched_locked(peer, request.last_included_index)",
        "self._matched_locked(peer, self.log.last_index)",
        test_section_7.test_a_follower_that_has_the_snapshot_counts_for_what_it_covers_only,
    ),
    # ------------------------------------------------------------------ the interface
    "does not wake its threads at its end": Mistake(
        "            self.killed = True\n            self.work_ready.notify_all()\n",
        "            self.killed = True\n",
        test_interface.test_all_threads_of_a_killed_server_end,
        {"role": "follower"},
    ),
    "leads on after kill()": Mistake(
        "                if self.killed:\n                    return None\n                wait = None\n",
        "                wait = None\n",
        test_interface.test_a_killed_server_says_nothing_of_its_own,
    ),
    "takes commands after kill()": Mistake(
        "if self.role is not Role.LEADER or self.killed:",
        "if self.role is not Role.LEADER:",
        test_interface.test_a_killed_server_takes_no_commands,
    ),
    "appends what cannot be encoded": Mistake(
        "        data = encode(entry)\n        self._entries.append(entry)\n",
        "        self._entries.append(entry)\n        data = encode(entry)\n",
        test_interface.test_a_command_that_cannot_be_encoded_leaves_the_log_unchanged,
        file="log.py",
    ),
    "holds its lock while the service is slow": Mistake(
        "                self.apply_ch.put(message)",
        "                with self.mu:\n                    self.apply_ch.put(message)",
        test_interface.test_a_service_that_does_not_read_delays_nothing_else,
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Mistake) -> None:
    monkeypatch.delenv("RAFTLAB_GOLDEN", raising=False)  # a broken server's story is not the one to keep
    shutil.copytree(reference_root() / "raft", tmp_path / "raft", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "raft" / mistake.file
    source = path.read_text(encoding="utf-8")
    found = source.count(mistake.before)
    assert found == 1, f"this mistake no longer fits raft/{mistake.file}: its text occurs {found} times, must once"
    path.write_text(source.replace(mistake.before, mistake.after), encoding="utf-8")
    bench = Bench(Options(solution=tmp_path, programs=PROGRAMS))
    try:
        with pytest.raises(AssertionError):
            mistake.test(bench, **mistake.arguments)
    finally:
        bench.close()
