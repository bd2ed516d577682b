/* The table of steps, written by gen_steps.py from src/cloison/plan/steps.py.
 * Do not edit: change the table, then run
 *
 *	python native/gen_steps.py native/steps.h */
#ifndef CLOISON_STEPS_H
#define CLOISON_STEPS_H

#include <stdint.h>

struct state;

/* How a field lies in the plan, and how --print shows it. */
enum field_type {
	FIELD_INT,
	FIELD_HEX,
	FIELD_OCT,
	FIELD_SLOT,
	FIELD_OUT,
	FIELD_TEXT,
	FIELD_TEXTS,
	FIELD_BLOB,
};

/* Bytes as they lie in the plan; aligned for 4 bytes. */
struct blob {
	uint32_t size;
	unsigned char bytes[];
};

#define MAX_SLOTS 64
#define ARGS_MAX 11

enum kind {
	KIND_MKDIR = 1,
	KIND_WRITE = 2,
	KIND_CHOWN = 3,
	KIND_OPEN = 4,
	KIND_CLOSE = 5,
	KIND_SYMLINK = 6,
	KIND_UNLINK = 7,
	KIND_RMDIR = 8,
	KIND_FCHDIR = 9,
	KIND_OPEN_TREE = 10,
	KIND_MOUNT_SETATTR = 11,
	KIND_FSMOUNT = 12,
	KIND_MOVE_MOUNT = 13,
	KIND_MASK_PATH = 14,
	KIND_READONLY_PATH = 15,
	KIND_PIVOT_ROOT = 16,
	KIND_ROOT_PROPAGATION = 17,
	KIND_DETACH = 20,
	KIND_CLONE = 21,
	KIND_OPEN_CHILD_NS = 22,
	KIND_WRITE_CHILD = 23,
	KIND_UNSHARE = 24,
	KIND_SETNS = 25,
	KIND_SETSID = 26,
	KIND_PDEATHSIG = 27,
	KIND_SET_DUMPABLE = 28,
	KIND_PERSONALITY = 29,
	KIND_MKDIR_CGROUP = 30,
	KIND_RMDIR_CGROUP = 31,
	KIND_KILL_CGROUP = 32,
	KIND_ATTACH_CGROUP = 33,
	KIND_ATTACH_SELF = 34,
	KIND_DEVICE_FILTER = 35,
	KIND_WATCH_OOM = 36,
	KIND_SEND_FD = 40,
	KIND_RECV_FD = 41,
	KIND_REPORT_FD = 42,
	KIND_OPEN_PTY = 43,
	KIND_SET_WINSIZE = 44,
	KIND_SET_CTTY = 45,
	KIND_DUP2 = 46,
	KIND_LISTEN = 47,
	KIND_SETHOSTNAME = 50,
	KIND_SETDOMAINNAME = 51,
	KIND_SYSCTL = 52,
	KIND_SETRLIMIT = 53,
	KIND_LINK_UP = 54,
	KIND_UMASK = 55,
	KIND_CHDIR = 56,
	KIND_PRLIMIT = 57,
	KIND_SETGROUPS = 60,
	KIND_SETRESGID = 61,
	KIND_SETRESUID = 62,
	KIND_DROP_BOUNDING = 63,
	KIND_KEEP_CAPS = 64,
	KIND_CAPSET = 65,
	KIND_AMBIENT = 66,
	KIND_NO_NEW_PRIVS = 67,
	KIND_LOAD_SECCOMP = 68,
	KIND_EXEC = 70,
	KIND_MONITOR_OF_OLD = 71,
	KIND_WAIT = 72,
	KIND_MONITOR = 73,
	KIND_NETLINK = 80,
	KIND_RUN = 81,
	KIND_TERMINATE = 82,
	KIND_WRITE_FILE = 83,
	KIND_UMOUNT = 84,
	KIND_NETLINK_IN = 85,
	KIND_RENAME_LINK = 86,
	KIND_UNDO_LATER = 87,
	KIND_NETLINK_ON = 88,
	KIND_SEAL_MOUNT = 90,
	KIND_OPEN_USERNS = 91,
	KIND_UNMOUNT = 92,
	KIND_LIMIT
};

/* Make a directory; one that exists already is left as it is. */
struct arg_mkdir {
	int64_t dir;
	const char *path;
	int64_t mode;
};
_Static_assert(sizeof(struct arg_mkdir) == 8 * 3,
	       "mkdir");
int do_mkdir(const struct arg_mkdir *, struct state *);

/* Write `data` with one write(2) into a file that exists: a cgroup limit, a
 * switch in /proc. */
struct arg_write {
	int64_t dir;
	const char *path;
	const char *data;
};
_Static_assert(sizeof(struct arg_write) == 8 * 3,
	       "write");
int do_write(const struct arg_write *, struct state *);

/* Give a file to `uid` and `gid`, without following a symbolic link; a
 * missing one is passed over. */
struct arg_chown {
	int64_t dir;
	const char *path;
	int64_t uid;
	int64_t gid;
};
_Static_assert(sizeof(struct arg_chown) == 8 * 4,
	       "chown");
int do_chown(const struct arg_chown *, struct state *);

/* Open a path of the host, close-on-exec. */
struct arg_open {
	int64_t out;
	int64_t dir;
	const char *path;
	int64_t flags;
	int64_t mode;
};
_Static_assert(sizeof(struct arg_open) == 8 * 5,
	       "open");
int do_open(const struct arg_open *, struct state *);

/* Close a slot. */
struct arg_close {
	int64_t fd;
};
_Static_assert(sizeof(struct arg_close) == 8 * 1,
	       "close");
int do_close(const struct arg_close *, struct state *);

/* Make a symbolic link inside `root`; one that exists already is left as it
 * is. */
struct arg_symlink {
	int64_t root;
	const char *path;
	const char *target;
};
_Static_assert(sizeof(struct arg_symlink) == 8 * 3,
	       "symlink");
int do_symlink(const struct arg_symlink *, struct state *);

/* Remove a file; a missing one is no error. */
struct arg_unlink {
	const char *path;
};
_Static_assert(sizeof(struct arg_unlink) == 8 * 1,
	       "unlink");
int do_unlink(const struct arg_unlink *, struct state *);

/* Remove an empty directory; a missing one is no error. */
struct arg_rmdir {
	const char *path;
};
_Static_assert(sizeof(struct arg_rmdir) == 8 * 1,
	       "rmdir");
int do_rmdir(const struct arg_rmdir *, struct state *);

/* Make a directory the working directory. */
struct arg_fchdir {
	int64_t dir;
};
_Static_assert(sizeof(struct arg_fchdir) == 8 * 1,
	       "fchdir");
int do_fchdir(const struct arg_fchdir *, struct state *);

/* Take hold of a mount, or with OPEN_TREE_CLONE of a detached copy of it.
 * `path` is resolved inside `root` (RESOLVE_IN_ROOT), or on the host where
 * `root` is none. */
struct arg_open_tree {
	int64_t out;
	int64_t root;
	const char *path;
	int64_t flags;
};
_Static_assert(sizeof(struct arg_open_tree) == 8 * 4,
	       "open_tree");
int do_open_tree(const struct arg_open_tree *, struct state *);

/* Set the attributes of a mount: read-only, nosuid, propagation, or an id
 * map (`userns` is not none). */
struct arg_mount_setattr {
	int64_t tree;
	int64_t recursive;
	int64_t set;
	int64_t clear;
	int64_t propagation;
	int64_t userns;
};
_Static_assert(sizeof(struct arg_mount_setattr) == 8 * 6,
	       "mount_setattr");
int do_mount_setattr(const struct arg_mount_setattr *, struct state *);

/* Make a new mount of a file system, still attached to nothing. `options`
 * are `key=value` or a bare flag. Paths in them are relative to the working
 * directory. */
struct arg_fsmount {
	int64_t out;
	const char *fstype;
	const char *mount_source;
	char *const *options;
	int64_t attr;
};
_Static_assert(sizeof(struct arg_fsmount) == 8 * 5,
	       "fsmount");
int do_fsmount(const struct arg_fsmount *, struct state *);

/* Attach a mount at `path`, resolved inside `root`, making the target where
 * `create` says so. */
struct arg_move_mount {
	int64_t tree;
	int64_t root;
	const char *path;
	int64_t create;
};
_Static_assert(sizeof(struct arg_move_mount) == 8 * 4,
	       "move_mount");
int do_move_mount(const struct arg_move_mount *, struct state *);

/* Hide a file behind the null device, a directory behind an empty read-only
 * tmpfs; a missing one is fine. `null` is an O_PATH descriptor of the host's
 * null device, checked to be the device 1:3. */
struct arg_mask_path {
	int64_t root;
	const char *path;
	int64_t null;
};
_Static_assert(sizeof(struct arg_mask_path) == 8 * 3,
	       "mask_path");
int do_mask_path(const struct arg_mask_path *, struct state *);

/* Make a path read-only by a read-only copy of its mount over it; a missing
 * one is fine. */
struct arg_readonly_path {
	int64_t root;
	const char *path;
};
_Static_assert(sizeof(struct arg_readonly_path) == 8 * 2,
	       "readonly_path");
int do_readonly_path(const struct arg_readonly_path *, struct state *);

/* Make `root` the root directory and let go of the old one for good. */
struct arg_pivot_root {
	int64_t root;
};
_Static_assert(sizeof(struct arg_pivot_root) == 8 * 1,
	       "pivot_root");
int do_pivot_root(const struct arg_pivot_root *, struct state *);

/* Set the propagation of every mount the new process sees: nothing travels
 * back to the host. */
struct arg_root_propagation {
	int64_t propagation;
};
_Static_assert(sizeof(struct arg_root_propagation) == 8 * 1,
	       "root_propagation");
int do_root_propagation(const struct arg_root_propagation *, struct state *);

/* Leave the caller: fork, let the parent end, begin an own session in `/`.
 * */
struct arg_detach;
int do_detach(const struct arg_detach *, struct state *);

/* Make the new process, in new namespaces and, with `cgroup`, in that v2
 * cgroup from its first moment. */
struct arg_clone {
	int64_t flags;
	int64_t cgroup;
};
_Static_assert(sizeof(struct arg_clone) == 8 * 2,
	       "clone");
int do_clone(const struct arg_clone *, struct state *);

/* Take hold of a namespace of the new process. */
struct arg_open_child_ns {
	int64_t out;
	const char *name;
};
_Static_assert(sizeof(struct arg_open_child_ns) == 8 * 2,
	       "open_child_ns");
int do_open_child_ns(const struct arg_open_child_ns *, struct state *);

/* Write to /proc/PID/`name` of the new process: its id maps, its OOM score.
 * */
struct arg_write_child {
	const char *name;
	const char *data;
};
_Static_assert(sizeof(struct arg_write_child) == 8 * 2,
	       "write_child");
int do_write_child(const struct arg_write_child *, struct state *);

/* Leave shared namespaces for new ones. */
struct arg_unshare {
	int64_t flags;
};
_Static_assert(sizeof(struct arg_unshare) == 8 * 1,
	       "unshare");
int do_unshare(const struct arg_unshare *, struct state *);

/* Enter namespaces: `fd` is a namespace or a pidfd. */
struct arg_setns {
	int64_t fd;
	int64_t flags;
};
_Static_assert(sizeof(struct arg_setns) == 8 * 2,
	       "setns");
int do_setns(const struct arg_setns *, struct state *);

/* Begin a new session. */
struct arg_setsid;
int do_setsid(const struct arg_setsid *, struct state *);

/* Ask for a signal when the parent dies; end at once where it is dead
 * already. */
struct arg_pdeathsig {
	int64_t signal;
};
_Static_assert(sizeof(struct arg_pdeathsig) == 8 * 1,
	       "pdeathsig");
int do_pdeathsig(const struct arg_pdeathsig *, struct state *);

/* Say whether others may look into this process (ptrace, /proc/PID/). */
struct arg_set_dumpable {
	int64_t value;
};
_Static_assert(sizeof(struct arg_set_dumpable) == 8 * 1,
	       "set_dumpable");
int do_set_dumpable(const struct arg_set_dumpable *, struct state *);

/* Set the execution domain. */
struct arg_personality {
	int64_t value;
};
_Static_assert(sizeof(struct arg_personality) == 8 * 1,
	       "personality");
int do_personality(const struct arg_personality *, struct state *);

/* Make a cgroup, with its missing parents. */
struct arg_mkdir_cgroup {
	const char *path;
};
_Static_assert(sizeof(struct arg_mkdir_cgroup) == 8 * 1,
	       "mkdir_cgroup");
int do_mkdir_cgroup(const struct arg_mkdir_cgroup *, struct state *);

/* Remove a cgroup and those below it, waiting for its processes to end; then
 * up to `prune` empty parents. */
struct arg_rmdir_cgroup {
	const char *path;
	int64_t prune;
};
_Static_assert(sizeof(struct arg_rmdir_cgroup) == 8 * 2,
	       "rmdir_cgroup");
int do_rmdir_cgroup(const struct arg_rmdir_cgroup *, struct state *);

/* Kill every process in a cgroup and below it. */
struct arg_kill_cgroup {
	const char *path;
};
_Static_assert(sizeof(struct arg_kill_cgroup) == 8 * 1,
	       "kill_cgroup");
int do_kill_cgroup(const struct arg_kill_cgroup *, struct state *);

/* Move the new process into a cgroup. */
struct arg_attach_cgroup {
	const char *path;
};
_Static_assert(sizeof(struct arg_attach_cgroup) == 8 * 1,
	       "attach_cgroup");
int do_attach_cgroup(const struct arg_attach_cgroup *, struct state *);

/* Move the launcher itself into a cgroup. */
struct arg_attach_self {
	const char *path;
};
_Static_assert(sizeof(struct arg_attach_self) == 8 * 1,
	       "attach_self");
int do_attach_self(const struct arg_attach_self *, struct state *);

/* Let an eBPF program decide over every use of a device in a v2 cgroup and
 * below it, in place of those that are attached there; it ends with the cgroup.
 * `program` is an array of `struct bpf_insn`; an empty one only takes those
 * away. */
struct arg_device_filter {
	const char *path;
	const struct blob *program;
};
_Static_assert(sizeof(struct arg_device_filter) == 8 * 2,
	       "device_filter");
int do_device_filter(const struct arg_device_filter *, struct state *);

/* Take hold of what tells of out-of-memory kills in a cgroup: its
 * `memory.events` (v2), or an eventfd that the kernel rings for its
 * `memory.oom_control` (v1). */
struct arg_watch_oom {
	int64_t out;
	const char *path;
};
_Static_assert(sizeof(struct arg_watch_oom) == 8 * 2,
	       "watch_oom");
int do_watch_oom(const struct arg_watch_oom *, struct state *);

/* Hand a descriptor to the launcher. */
struct arg_send_fd {
	int64_t fd;
};
_Static_assert(sizeof(struct arg_send_fd) == 8 * 1,
	       "send_fd");
int do_send_fd(const struct arg_send_fd *, struct state *);

/* Take the descriptor that the new process handed over. */
struct arg_recv_fd {
	int64_t out;
};
_Static_assert(sizeof(struct arg_recv_fd) == 8 * 1,
	       "recv_fd");
int do_recv_fd(const struct arg_recv_fd *, struct state *);

/* Hand a descriptor to the process that asked for this plan. */
struct arg_report_fd {
	int64_t fd;
};
_Static_assert(sizeof(struct arg_report_fd) == 8 * 1,
	       "report_fd");
int do_report_fd(const struct arg_report_fd *, struct state *);

/* Open a pseudo-terminal of the devpts at `path` inside `root`; the slave
 * through TIOCGPTPEER. */
struct arg_open_pty {
	int64_t master;
	int64_t slave;
	int64_t root;
	const char *path;
};
_Static_assert(sizeof(struct arg_open_pty) == 8 * 4,
	       "open_pty");
int do_open_pty(const struct arg_open_pty *, struct state *);

/* Set a terminal's size, in character cells. */
struct arg_set_winsize {
	int64_t fd;
	int64_t rows;
	int64_t cols;
};
_Static_assert(sizeof(struct arg_set_winsize) == 8 * 3,
	       "set_winsize");
int do_set_winsize(const struct arg_set_winsize *, struct state *);

/* Make a terminal the controlling terminal of the session. */
struct arg_set_ctty {
	int64_t fd;
};
_Static_assert(sizeof(struct arg_set_ctty) == 8 * 1,
	       "set_ctty");
int do_set_ctty(const struct arg_set_ctty *, struct state *);

/* Make descriptor number `to` another name of a slot; it survives exec. */
struct arg_dup2 {
	int64_t fd;
	int64_t to;
};
_Static_assert(sizeof(struct arg_dup2) == 8 * 2,
	       "dup2");
int do_dup2(const struct arg_dup2 *, struct state *);

/* Bind a socket for requests at `path` below `dir`, mode 0600. */
struct arg_listen {
	int64_t out;
	int64_t dir;
	const char *path;
};
_Static_assert(sizeof(struct arg_listen) == 8 * 3,
	       "listen");
int do_listen(const struct arg_listen *, struct state *);

/* Set the host name of the new UTS namespace. */
struct arg_sethostname {
	const char *name;
};
_Static_assert(sizeof(struct arg_sethostname) == 8 * 1,
	       "sethostname");
int do_sethostname(const struct arg_sethostname *, struct state *);

/* Set the NIS domain name of the new UTS namespace. */
struct arg_setdomainname {
	const char *name;
};
_Static_assert(sizeof(struct arg_setdomainname) == 8 * 1,
	       "setdomainname");
int do_setdomainname(const struct arg_setdomainname *, struct state *);

/* Write a kernel parameter through a private /proc that nobody else can have
 * tampered with. `key` is a path below /proc/sys, with slashes. */
struct arg_sysctl {
	int64_t proc;
	const char *key;
	const char *value;
};
_Static_assert(sizeof(struct arg_sysctl) == 8 * 3,
	       "sysctl");
int do_sysctl(const struct arg_sysctl *, struct state *);

/* Set a resource limit; all bits set is "unlimited". */
struct arg_setrlimit {
	int64_t resource;
	int64_t soft;
	int64_t hard;
};
_Static_assert(sizeof(struct arg_setrlimit) == 8 * 3,
	       "setrlimit");
int do_setrlimit(const struct arg_setrlimit *, struct state *);

/* Bring a network interface up. */
struct arg_link_up {
	const char *name;
};
_Static_assert(sizeof(struct arg_link_up) == 8 * 1,
	       "link_up");
int do_link_up(const struct arg_link_up *, struct state *);

/* Set the file mode creation mask. */
struct arg_umask {
	int64_t mask;
};
_Static_assert(sizeof(struct arg_umask) == 8 * 1,
	       "umask");
int do_umask(const struct arg_umask *, struct state *);

/* Change the working directory, and check that it lies inside the root. */
struct arg_chdir {
	const char *path;
};
_Static_assert(sizeof(struct arg_chdir) == 8 * 1,
	       "chdir");
int do_chdir(const struct arg_chdir *, struct state *);

/* Set a resource limit of another process, or where `pid` is 0, of the new
 * one; one that has ended is passed over. The host's root may raise a hard
 * limit, which root of a user namespace may not. */
struct arg_prlimit {
	int64_t pid;
	int64_t resource;
	int64_t soft;
	int64_t hard;
};
_Static_assert(sizeof(struct arg_prlimit) == 8 * 4,
	       "prlimit");
int do_prlimit(const struct arg_prlimit *, struct state *);

/* Set the supplementary groups (decimal numbers). */
struct arg_setgroups {
	char *const *groups;
};
_Static_assert(sizeof(struct arg_setgroups) == 8 * 1,
	       "setgroups");
int do_setgroups(const struct arg_setgroups *, struct state *);

/* Set all group ids. */
struct arg_setresgid {
	int64_t gid;
};
_Static_assert(sizeof(struct arg_setresgid) == 8 * 1,
	       "setresgid");
int do_setresgid(const struct arg_setresgid *, struct state *);

/* Set all user ids. */
struct arg_setresuid {
	int64_t uid;
};
_Static_assert(sizeof(struct arg_setresuid) == 8 * 1,
	       "setresuid");
int do_setresuid(const struct arg_setresuid *, struct state *);

/* Drop every capability that is not in `keep` from the bounding set. */
struct arg_drop_bounding {
	int64_t keep;
};
_Static_assert(sizeof(struct arg_drop_bounding) == 8 * 1,
	       "drop_bounding");
int do_drop_bounding(const struct arg_drop_bounding *, struct state *);

/* Keep the permitted capabilities when the user id changes. */
struct arg_keep_caps;
int do_keep_caps(const struct arg_keep_caps *, struct state *);

/* Set the capability sets of the process. */
struct arg_capset {
	int64_t effective;
	int64_t permitted;
	int64_t inheritable;
};
_Static_assert(sizeof(struct arg_capset) == 8 * 3,
	       "capset");
int do_capset(const struct arg_capset *, struct state *);

/* Raise ambient capabilities. */
struct arg_ambient {
	int64_t mask;
};
_Static_assert(sizeof(struct arg_ambient) == 8 * 1,
	       "ambient");
int do_ambient(const struct arg_ambient *, struct state *);

/* From here on exec cannot grant privileges. */
struct arg_no_new_privs;
int do_no_new_privs(const struct arg_no_new_privs *, struct state *);

/* Load a system call filter: an array of `struct sock_filter`. */
struct arg_load_seccomp {
	const struct blob *filter;
};
_Static_assert(sizeof(struct arg_load_seccomp) == 8 * 1,
	       "load_seccomp");
int do_load_seccomp(const struct arg_load_seccomp *, struct state *);

/* Become the payload: the first of `programs` that can be executed. Every
 * descriptor above 2 is closed. */
struct arg_exec {
	char *const *programs;
	char *const *argv;
	char *const *env;
};
_Static_assert(sizeof(struct arg_exec) == 8 * 3,
	       "exec");
int do_exec(const struct arg_exec *, struct state *);

/* What `monitor` was before it knew of alarms and samples: in the journals
 * of what older versions have started. */
struct arg_monitor_of_old {
	int64_t socket;
	int64_t console;
	int64_t peer;
	const char *log;
	int64_t log_size;
	const char *record;
	char *const *reboot;
};
_Static_assert(sizeof(struct arg_monitor_of_old) == 8 * 7,
	       "monitor_of_old");
int do_monitor_of_old(const struct arg_monitor_of_old *, struct state *);

/* Wait for the new process, report its wait status, and end. */
struct arg_wait;
int do_wait(const struct arg_wait *, struct state *);

/* Stay as the keeper of the new process: own its console, write the log,
 * answer on the socket; when it has ended, run the undo steps, write the exit
 * record, and after a reboot from inside become `reboot`. `alarm` is what
 * `watch_oom` gave: for an out-of-memory kill `on_alarm` is run, at most once a
 * second, and not waited for. At the end, before the undo steps, the files
 * `samples` are copied to `record`.usage, and with `netns` what the interfaces
 * in that network namespace have counted. */
struct arg_monitor {
	int64_t socket;
	int64_t console;
	int64_t peer;
	const char *log;
	int64_t log_size;
	const char *record;
	char *const *reboot;
	int64_t alarm;
	char *const *on_alarm;
	int64_t netns;
	char *const *samples;
};
_Static_assert(sizeof(struct arg_monitor) == 8 * 11,
	       "monitor");
int do_monitor(const struct arg_monitor *, struct state *);

/* Send a batch of rtnetlink messages, and hear that each was carried out;
 * `what` says in words what they do. The socket is of the network namespace
 * `ns`, or of whoever sends. Where `fd` is a slot, its descriptor is put into
 * the messages at byte `at` (IFLA_NET_NS_FD). An answer of the errno `ignore`
 * is none (MISSING: of any that says that something is not there); for
 * `patience_ms` a missing interface (ENODEV) is waited for. The value of a
 * failure is the index of the message that was refused. */
struct arg_netlink {
	const char *what;
	int64_t ns;
	int64_t fd;
	int64_t at;
	const struct blob *messages;
	int64_t ignore;
	int64_t patience_ms;
};
_Static_assert(sizeof(struct arg_netlink) == 8 * 7,
	       "netlink");
int do_netlink(const struct arg_netlink *, struct state *);

/* Run a program of the host, with `input` on its standard input, and wait
 * for it. `argv` begins with its absolute path. The value of a failure with
 * ECHILD is its wait status, and what it wrote to its standard error, as far as
 * 4 KiB go, comes with the report. */
struct arg_run {
	char *const *argv;
	const char *input;
};
_Static_assert(sizeof(struct arg_run) == 8 * 2,
	       "run");
int do_run(const struct arg_run *, struct state *);

/* End the daemon whose pid is in a file, if `word` is a part of its command
 * line; an absent one is no error. */
struct arg_terminate {
	const char *pidfile;
	const char *word;
};
_Static_assert(sizeof(struct arg_terminate) == 8 * 2,
	       "terminate");
int do_terminate(const struct arg_terminate *, struct state *);

/* Write a file of ours as a whole: beside it, under a name with a dot, and
 * then renamed. */
struct arg_write_file {
	const char *path;
	int64_t mode;
	const struct blob *data;
};
_Static_assert(sizeof(struct arg_write_file) == 8 * 3,
	       "write_file");
int do_write_file(const struct arg_write_file *, struct state *);

/* Take a mount away, and the file or empty directory that it was on; neither
 * need be there. */
struct arg_umount {
	const char *path;
};
_Static_assert(sizeof(struct arg_umount) == 8 * 1,
	       "umount");
int do_umount(const struct arg_umount *, struct state *);

/* As `netlink`, in the network namespace that is mounted at `path`; without
 * one there is nothing to do. The descriptor of the sender's own namespace is
 * put at byte `at` of the messages, unless that is -1. */
struct arg_netlink_in {
	const char *what;
	const char *path;
	int64_t at;
	const struct blob *messages;
	int64_t ignore;
};
_Static_assert(sizeof(struct arg_netlink_in) == 8 * 5,
	       "netlink_in");
int do_netlink_in(const struct arg_netlink_in *, struct state *);

/* Give an interface another name, `name` being any that it has; for
 * `patience_ms` a missing one is waited for. One that does not come is no
 * error: it may have been pulled out. */
struct arg_rename_link {
	const char *name;
	const char *to;
	int64_t patience_ms;
};
_Static_assert(sizeof(struct arg_rename_link) == 8 * 3,
	       "rename_link");
int do_rename_link(const struct arg_rename_link *, struct state *);

/* Carry out the undo steps of another plan, for what was added after the
 * start, and remove its file. None need be there. */
struct arg_undo_later {
	const char *path;
};
_Static_assert(sizeof(struct arg_undo_later) == 8 * 1,
	       "undo_later");
int do_undo_later(const struct arg_undo_later *, struct state *);

/* As `netlink`, one message after the other, each about the interface
 * `name`, any that it has: its index is put into them. All are sent; the value
 * of a failure is the index of the first that was refused. Where there is no
 * such interface, there is nothing to do. */
struct arg_netlink_on {
	const char *what;
	const char *name;
	const struct blob *messages;
	int64_t ignore;
};
_Static_assert(sizeof(struct arg_netlink_on) == 8 * 4,
	       "netlink_on");
int do_netlink_on(const struct arg_netlink_on *, struct state *);

/* A copy of a detached mount, with those in it, whose attributes stay as
 * they are: root of another user namespace can neither make it writable again
 * nor take away what is mounted in it. */
struct arg_seal_mount {
	int64_t out;
	int64_t tree;
};
_Static_assert(sizeof(struct arg_seal_mount) == 8 * 2,
	       "seal_mount");
int do_seal_mount(const struct arg_seal_mount *, struct state *);

/* Take hold of a user namespace with these id maps, in which nobody is: for
 * an id-mapped mount. */
struct arg_open_userns {
	int64_t out;
	const char *uid_map;
	const char *gid_map;
};
_Static_assert(sizeof(struct arg_open_userns) == 8 * 3,
	       "open_userns");
int do_open_userns(const struct arg_open_userns *, struct state *);

/* Take away what is mounted at a path; the directory stays. EBUSY while
 * somebody uses it, but for MNT_DETACH. */
struct arg_unmount {
	const char *path;
	int64_t flags;
};
_Static_assert(sizeof(struct arg_unmount) == 8 * 2,
	       "unmount");
int do_unmount(const struct arg_unmount *, struct state *);

union args {
	uint64_t raw[ARGS_MAX];
	struct arg_mkdir mkdir;
	struct arg_write write;
	struct arg_chown chown;
	struct arg_open open;
	struct arg_close close;
	struct arg_symlink symlink;
	struct arg_unlink unlink;
	struct arg_rmdir rmdir;
	struct arg_fchdir fchdir;
	struct arg_open_tree open_tree;
	struct arg_mount_setattr mount_setattr;
	struct arg_fsmount fsmount;
	struct arg_move_mount move_mount;
	struct arg_mask_path mask_path;
	struct arg_readonly_path readonly_path;
	struct arg_pivot_root pivot_root;
	struct arg_root_propagation root_propagation;
	struct arg_clone clone;
	struct arg_open_child_ns open_child_ns;
	struct arg_write_child write_child;
	struct arg_unshare unshare;
	struct arg_setns setns;
	struct arg_pdeathsig pdeathsig;
	struct arg_set_dumpable set_dumpable;
	struct arg_personality personality;
	struct arg_mkdir_cgroup mkdir_cgroup;
	struct arg_rmdir_cgroup rmdir_cgroup;
	struct arg_kill_cgroup kill_cgroup;
	struct arg_attach_cgroup attach_cgroup;
	struct arg_attach_self attach_self;
	struct arg_device_filter device_filter;
	struct arg_watch_oom watch_oom;
	struct arg_send_fd send_fd;
	struct arg_recv_fd recv_fd;
	struct arg_report_fd report_fd;
	struct arg_open_pty open_pty;
	struct arg_set_winsize set_winsize;
	struct arg_set_ctty set_ctty;
	struct arg_dup2 dup2;
	struct arg_listen listen;
	struct arg_sethostname sethostname;
	struct arg_setdomainname setdomainname;
	struct arg_sysctl sysctl;
	struct arg_setrlimit setrlimit;
	struct arg_link_up link_up;
	struct arg_umask umask;
	struct arg_chdir chdir;
	struct arg_prlimit prlimit;
	struct arg_setgroups setgroups;
	struct arg_setresgid setresgid;
	struct arg_setresuid setresuid;
	struct arg_drop_bounding drop_bounding;
	struct arg_capset capset;
	struct arg_ambient ambient;
	struct arg_load_seccomp load_seccomp;
	struct arg_exec exec;
	struct arg_monitor_of_old monitor_of_old;
	struct arg_monitor monitor;
	struct arg_netlink netlink;
	struct arg_run run;
	struct arg_terminate terminate;
	struct arg_write_file write_file;
	struct arg_umount umount;
	struct arg_netlink_in netlink_in;
	struct arg_rename_link rename_link;
	struct arg_undo_later undo_later;
	struct arg_netlink_on netlink_on;
	struct arg_seal_mount seal_mount;
	struct arg_open_userns open_userns;
	struct arg_unmount unmount;
};

struct field {
	const char *name;
	enum field_type type;
};

/* What the decoder and --print know of a kind. A hole in the numbering has no
 * name. */
struct kind_info {
	const char *name;
	uint32_t nfields;
	struct field fields[ARGS_MAX];
};

extern const struct kind_info KINDS[KIND_LIMIT];

#ifdef STEPS_TABLE
const struct kind_info KINDS[KIND_LIMIT] = {
	[KIND_MKDIR] = { "mkdir", 3, {
		{ "dir", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "mode", FIELD_OCT },
	} },
	[KIND_WRITE] = { "write", 3, {
		{ "dir", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "data", FIELD_TEXT },
	} },
	[KIND_CHOWN] = { "chown", 4, {
		{ "dir", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "uid", FIELD_INT },
		{ "gid", FIELD_INT },
	} },
	[KIND_OPEN] = { "open", 5, {
		{ "out", FIELD_OUT },
		{ "dir", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "flags", FIELD_HEX },
		{ "mode", FIELD_OCT },
	} },
	[KIND_CLOSE] = { "close", 1, {
		{ "fd", FIELD_SLOT },
	} },
	[KIND_SYMLINK] = { "symlink", 3, {
		{ "root", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "target", FIELD_TEXT },
	} },
	[KIND_UNLINK] = { "unlink", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_RMDIR] = { "rmdir", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_FCHDIR] = { "fchdir", 1, {
		{ "dir", FIELD_SLOT },
	} },
	[KIND_OPEN_TREE] = { "open_tree", 4, {
		{ "out", FIELD_OUT },
		{ "root", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "flags", FIELD_HEX },
	} },
	[KIND_MOUNT_SETATTR] = { "mount_setattr", 6, {
		{ "tree", FIELD_SLOT },
		{ "recursive", FIELD_INT },
		{ "set", FIELD_HEX },
		{ "clear", FIELD_HEX },
		{ "propagation", FIELD_HEX },
		{ "userns", FIELD_SLOT },
	} },
	[KIND_FSMOUNT] = { "fsmount", 5, {
		{ "out", FIELD_OUT },
		{ "fstype", FIELD_TEXT },
		{ "mount_source", FIELD_TEXT },
		{ "options", FIELD_TEXTS },
		{ "attr", FIELD_HEX },
	} },
	[KIND_MOVE_MOUNT] = { "move_mount", 4, {
		{ "tree", FIELD_SLOT },
		{ "root", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "create", FIELD_INT },
	} },
	[KIND_MASK_PATH] = { "mask_path", 3, {
		{ "root", FIELD_SLOT },
		{ "path", FIELD_TEXT },
		{ "null", FIELD_SLOT },
	} },
	[KIND_READONLY_PATH] = { "readonly_path", 2, {
		{ "root", FIELD_SLOT },
		{ "path", FIELD_TEXT },
	} },
	[KIND_PIVOT_ROOT] = { "pivot_root", 1, {
		{ "root", FIELD_SLOT },
	} },
	[KIND_ROOT_PROPAGATION] = { "root_propagation", 1, {
		{ "propagation", FIELD_HEX },
	} },
	[KIND_DETACH] = { "detach", 0, {
	} },
	[KIND_CLONE] = { "clone", 2, {
		{ "flags", FIELD_HEX },
		{ "cgroup", FIELD_SLOT },
	} },
	[KIND_OPEN_CHILD_NS] = { "open_child_ns", 2, {
		{ "out", FIELD_OUT },
		{ "name", FIELD_TEXT },
	} },
	[KIND_WRITE_CHILD] = { "write_child", 2, {
		{ "name", FIELD_TEXT },
		{ "data", FIELD_TEXT },
	} },
	[KIND_UNSHARE] = { "unshare", 1, {
		{ "flags", FIELD_HEX },
	} },
	[KIND_SETNS] = { "setns", 2, {
		{ "fd", FIELD_SLOT },
		{ "flags", FIELD_HEX },
	} },
	[KIND_SETSID] = { "setsid", 0, {
	} },
	[KIND_PDEATHSIG] = { "pdeathsig", 1, {
		{ "signal", FIELD_INT },
	} },
	[KIND_SET_DUMPABLE] = { "set_dumpable", 1, {
		{ "value", FIELD_INT },
	} },
	[KIND_PERSONALITY] = { "personality", 1, {
		{ "value", FIELD_HEX },
	} },
	[KIND_MKDIR_CGROUP] = { "mkdir_cgroup", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_RMDIR_CGROUP] = { "rmdir_cgroup", 2, {
		{ "path", FIELD_TEXT },
		{ "prune", FIELD_INT },
	} },
	[KIND_KILL_CGROUP] = { "kill_cgroup", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_ATTACH_CGROUP] = { "attach_cgroup", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_ATTACH_SELF] = { "attach_self", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_DEVICE_FILTER] = { "device_filter", 2, {
		{ "path", FIELD_TEXT },
		{ "program", FIELD_BLOB },
	} },
	[KIND_WATCH_OOM] = { "watch_oom", 2, {
		{ "out", FIELD_OUT },
		{ "path", FIELD_TEXT },
	} },
	[KIND_SEND_FD] = { "send_fd", 1, {
		{ "fd", FIELD_SLOT },
	} },
	[KIND_RECV_FD] = { "recv_fd", 1, {
		{ "out", FIELD_OUT },
	} },
	[KIND_REPORT_FD] = { "report_fd", 1, {
		{ "fd", FIELD_SLOT },
	} },
	[KIND_OPEN_PTY] = { "open_pty", 4, {
		{ "master", FIELD_OUT },
		{ "slave", FIELD_OUT },
		{ "root", FIELD_SLOT },
		{ "path", FIELD_TEXT },
	} },
	[KIND_SET_WINSIZE] = { "set_winsize", 3, {
		{ "fd", FIELD_SLOT },
		{ "rows", FIELD_INT },
		{ "cols", FIELD_INT },
	} },
	[KIND_SET_CTTY] = { "set_ctty", 1, {
		{ "fd", FIELD_SLOT },
	} },
	[KIND_DUP2] = { "dup2", 2, {
		{ "fd", FIELD_SLOT },
		{ "to", FIELD_INT },
	} },
	[KIND_LISTEN] = { "listen", 3, {
		{ "out", FIELD_OUT },
		{ "dir", FIELD_SLOT },
		{ "path", FIELD_TEXT },
	} },
	[KIND_SETHOSTNAME] = { "sethostname", 1, {
		{ "name", FIELD_TEXT },
	} },
	[KIND_SETDOMAINNAME] = { "setdomainname", 1, {
		{ "name", FIELD_TEXT },
	} },
	[KIND_SYSCTL] = { "sysctl", 3, {
		{ "proc", FIELD_SLOT },
		{ "key", FIELD_TEXT },
		{ "value", FIELD_TEXT },
	} },
	[KIND_SETRLIMIT] = { "setrlimit", 3, {
		{ "resource", FIELD_INT },
		{ "soft", FIELD_HEX },
		{ "hard", FIELD_HEX },
	} },
	[KIND_LINK_UP] = { "link_up", 1, {
		{ "name", FIELD_TEXT },
	} },
	[KIND_UMASK] = { "umask", 1, {
		{ "mask", FIELD_OCT },
	} },
	[KIND_CHDIR] = { "chdir", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_PRLIMIT] = { "prlimit", 4, {
		{ "pid", FIELD_INT },
		{ "resource", FIELD_INT },
		{ "soft", FIELD_HEX },
		{ "hard", FIELD_HEX },
	} },
	[KIND_SETGROUPS] = { "setgroups", 1, {
		{ "groups", FIELD_TEXTS },
	} },
	[KIND_SETRESGID] = { "setresgid", 1, {
		{ "gid", FIELD_INT },
	} },
	[KIND_SETRESUID] = { "setresuid", 1, {
		{ "uid", FIELD_INT },
	} },
	[KIND_DROP_BOUNDING] = { "drop_bounding", 1, {
		{ "keep", FIELD_HEX },
	} },
	[KIND_KEEP_CAPS] = { "keep_caps", 0, {
	} },
	[KIND_CAPSET] = { "capset", 3, {
		{ "effective", FIELD_HEX },
		{ "permitted", FIELD_HEX },
		{ "inheritable", FIELD_HEX },
	} },
	[KIND_AMBIENT] = { "ambient", 1, {
		{ "mask", FIELD_HEX },
	} },
	[KIND_NO_NEW_PRIVS] = { "no_new_privs", 0, {
	} },
	[KIND_LOAD_SECCOMP] = { "load_seccomp", 1, {
		{ "filter", FIELD_BLOB },
	} },
	[KIND_EXEC] = { "exec", 3, {
		{ "programs", FIELD_TEXTS },
		{ "argv", FIELD_TEXTS },
		{ "env", FIELD_TEXTS },
	} },
	[KIND_MONITOR_OF_OLD] = { "monitor_of_old", 7, {
		{ "socket", FIELD_SLOT },
		{ "console", FIELD_SLOT },
		{ "peer", FIELD_SLOT },
		{ "log", FIELD_TEXT },
		{ "log_size", FIELD_INT },
		{ "record", FIELD_TEXT },
		{ "reboot", FIELD_TEXTS },
	} },
	[KIND_WAIT] = { "wait", 0, {
	} },
	[KIND_MONITOR] = { "monitor", 11, {
		{ "socket", FIELD_SLOT },
		{ "console", FIELD_SLOT },
		{ "peer", FIELD_SLOT },
		{ "log", FIELD_TEXT },
		{ "log_size", FIELD_INT },
		{ "record", FIELD_TEXT },
		{ "reboot", FIELD_TEXTS },
		{ "alarm", FIELD_SLOT },
		{ "on_alarm", FIELD_TEXTS },
		{ "netns", FIELD_SLOT },
		{ "samples", FIELD_TEXTS },
	} },
	[KIND_NETLINK] = { "netlink", 7, {
		{ "what", FIELD_TEXT },
		{ "ns", FIELD_SLOT },
		{ "fd", FIELD_SLOT },
		{ "at", FIELD_INT },
		{ "messages", FIELD_BLOB },
		{ "ignore", FIELD_INT },
		{ "patience_ms", FIELD_INT },
	} },
	[KIND_RUN] = { "run", 2, {
		{ "argv", FIELD_TEXTS },
		{ "input", FIELD_TEXT },
	} },
	[KIND_TERMINATE] = { "terminate", 2, {
		{ "pidfile", FIELD_TEXT },
		{ "word", FIELD_TEXT },
	} },
	[KIND_WRITE_FILE] = { "write_file", 3, {
		{ "path", FIELD_TEXT },
		{ "mode", FIELD_OCT },
		{ "data", FIELD_BLOB },
	} },
	[KIND_UMOUNT] = { "umount", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_NETLINK_IN] = { "netlink_in", 5, {
		{ "what", FIELD_TEXT },
		{ "path", FIELD_TEXT },
		{ "at", FIELD_INT },
		{ "messages", FIELD_BLOB },
		{ "ignore", FIELD_INT },
	} },
	[KIND_RENAME_LINK] = { "rename_link", 3, {
		{ "name", FIELD_TEXT },
		{ "to", FIELD_TEXT },
		{ "patience_ms", FIELD_INT },
	} },
	[KIND_UNDO_LATER] = { "undo_later", 1, {
		{ "path", FIELD_TEXT },
	} },
	[KIND_NETLINK_ON] = { "netlink_on", 4, {
		{ "what", FIELD_TEXT },
		{ "name", FIELD_TEXT },
		{ "messages", FIELD_BLOB },
		{ "ignore", FIELD_INT },
	} },
	[KIND_SEAL_MOUNT] = { "seal_mount", 2, {
		{ "out", FIELD_OUT },
		{ "tree", FIELD_SLOT },
	} },
	[KIND_OPEN_USERNS] = { "open_userns", 3, {
		{ "out", FIELD_OUT },
		{ "uid_map", FIELD_TEXT },
		{ "gid_map", FIELD_TEXT },
	} },
	[KIND_UNMOUNT] = { "unmount", 2, {
		{ "path", FIELD_TEXT },
		{ "flags", FIELD_HEX },
	} },
};
#endif

/* Carry a step out: 0 or more, or -errno. `kind` has passed the decoder. */
static inline int
do_step(uint32_t kind, const union args *args, struct state *st)
{
	switch (kind) {
	case KIND_MKDIR:
		return do_mkdir(&args->mkdir, st);
	case KIND_WRITE:
		return do_write(&args->write, st);
	case KIND_CHOWN:
		return do_chown(&args->chown, st);
	case KIND_OPEN:
		return do_open(&args->open, st);
	case KIND_CLOSE:
		return do_close(&args->close, st);
	case KIND_SYMLINK:
		return do_symlink(&args->symlink, st);
	case KIND_UNLINK:
		return do_unlink(&args->unlink, st);
	case KIND_RMDIR:
		return do_rmdir(&args->rmdir, st);
	case KIND_FCHDIR:
		return do_fchdir(&args->fchdir, st);
	case KIND_OPEN_TREE:
		return do_open_tree(&args->open_tree, st);
	case KIND_MOUNT_SETATTR:
		return do_mount_setattr(&args->mount_setattr, st);
	case KIND_FSMOUNT:
		return do_fsmount(&args->fsmount, st);
	case KIND_MOVE_MOUNT:
		return do_move_mount(&args->move_mount, st);
	case KIND_MASK_PATH:
		return do_mask_path(&args->mask_path, st);
	case KIND_READONLY_PATH:
		return do_readonly_path(&args->readonly_path, st);
	case KIND_PIVOT_ROOT:
		return do_pivot_root(&args->pivot_root, st);
	case KIND_ROOT_PROPAGATION:
		return do_root_propagation(&args->root_propagation, st);
	case KIND_DETACH:
		return do_detach(0, st);
	case KIND_CLONE:
		return do_clone(&args->clone, st);
	case KIND_OPEN_CHILD_NS:
		return do_open_child_ns(&args->open_child_ns, st);
	case KIND_WRITE_CHILD:
		return do_write_child(&args->write_child, st);
	case KIND_UNSHARE:
		return do_unshare(&args->unshare, st);
	case KIND_SETNS:
		return do_setns(&args->setns, st);
	case KIND_SETSID:
		return do_setsid(0, st);
	case KIND_PDEATHSIG:
		return do_pdeathsig(&args->pdeathsig, st);
	case KIND_SET_DUMPABLE:
		return do_set_dumpable(&args->set_dumpable, st);
	case KIND_PERSONALITY:
		return do_personality(&args->personality, st);
	case KIND_MKDIR_CGROUP:
		return do_mkdir_cgroup(&args->mkdir_cgroup, st);
	case KIND_RMDIR_CGROUP:
		return do_rmdir_cgroup(&args->rmdir_cgroup, st);
	case KIND_KILL_CGROUP:
		return do_kill_cgroup(&args->kill_cgroup, st);
	case KIND_ATTACH_CGROUP:
		return do_attach_cgroup(&args->attach_cgroup, st);
	case KIND_ATTACH_SELF:
		return do_attach_self(&args->attach_self, st);
	case KIND_DEVICE_FILTER:
		return do_device_filter(&args->device_filter, st);
	case KIND_WATCH_OOM:
		return do_watch_oom(&args->watch_oom, st);
	case KIND_SEND_FD:
		return do_send_fd(&args->send_fd, st);
	case KIND_RECV_FD:
		return do_recv_fd(&args->recv_fd, st);
	case KIND_REPORT_FD:
		return do_report_fd(&args->report_fd, st);
	case KIND_OPEN_PTY:
		return do_open_pty(&args->open_pty, st);
	case KIND_SET_WINSIZE:
		return do_set_winsize(&args->set_winsize, st);
	case KIND_SET_CTTY:
		return do_set_ctty(&args->set_ctty, st);
	case KIND_DUP2:
		return do_dup2(&args->dup2, st);
	case KIND_LISTEN:
		return do_listen(&args->listen, st);
	case KIND_SETHOSTNAME:
		return do_sethostname(&args->sethostname, st);
	case KIND_SETDOMAINNAME:
		return do_setdomainname(&args->setdomainname, st);
	case KIND_SYSCTL:
		return do_sysctl(&args->sysctl, st);
	case KIND_SETRLIMIT:
		return do_setrlimit(&args->setrlimit, st);
	case KIND_LINK_UP:
		return do_link_up(&args->link_up, st);
	case KIND_UMASK:
		return do_umask(&args->umask, st);
	case KIND_CHDIR:
		return do_chdir(&args->chdir, st);
	case KIND_PRLIMIT:
		return do_prlimit(&args->prlimit, st);
	case KIND_SETGROUPS:
		return do_setgroups(&args->setgroups, st);
	case KIND_SETRESGID:
		return do_setresgid(&args->setresgid, st);
	case KIND_SETRESUID:
		return do_setresuid(&args->setresuid, st);
	case KIND_DROP_BOUNDING:
		return do_drop_bounding(&args->drop_bounding, st);
	case KIND_KEEP_CAPS:
		return do_keep_caps(0, st);
	case KIND_CAPSET:
		return do_capset(&args->capset, st);
	case KIND_AMBIENT:
		return do_ambient(&args->ambient, st);
	case KIND_NO_NEW_PRIVS:
		return do_no_new_privs(0, st);
	case KIND_LOAD_SECCOMP:
		return do_load_seccomp(&args->load_seccomp, st);
	case KIND_EXEC:
		return do_exec(&args->exec, st);
	case KIND_MONITOR_OF_OLD:
		return do_monitor_of_old(&args->monitor_of_old, st);
	case KIND_WAIT:
		return do_wait(0, st);
	case KIND_MONITOR:
		return do_monitor(&args->monitor, st);
	case KIND_NETLINK:
		return do_netlink(&args->netlink, st);
	case KIND_RUN:
		return do_run(&args->run, st);
	case KIND_TERMINATE:
		return do_terminate(&args->terminate, st);
	case KIND_WRITE_FILE:
		return do_write_file(&args->write_file, st);
	case KIND_UMOUNT:
		return do_umount(&args->umount, st);
	case KIND_NETLINK_IN:
		return do_netlink_in(&args->netlink_in, st);
	case KIND_RENAME_LINK:
		return do_rename_link(&args->rename_link, st);
	case KIND_UNDO_LATER:
		return do_undo_later(&args->undo_later, st);
	case KIND_NETLINK_ON:
		return do_netlink_on(&args->netlink_on, st);
	case KIND_SEAL_MOUNT:
		return do_seal_mount(&args->seal_mount, st);
	case KIND_OPEN_USERNS:
		return do_open_userns(&args->open_userns, st);
	case KIND_UNMOUNT:
		return do_unmount(&args->unmount, st);
	}
	__builtin_unreachable();
}

#endif
