/* Steps on mounts, all through descriptors: a tree is taken hold of, gets its
 * attributes while nobody sees it, and is attached last (mount_api(7)). */
#define _GNU_SOURCE

#include "launcher.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#define EMPTY_TMPFS_ATTR (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | \
			  MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

int
do_open_tree(const struct arg_open_tree *arg, struct state *st)
{
	unsigned flags = (unsigned)arg->flags;
	int at, tree;

	/* The slot itself need not be a directory: a terminal's slave. */
	if (arg->root < 0 || *arg->path == '\0') {
		tree = sys_open_tree(slot_dir(st, arg->root), arg->path,
				     flags | AT_EMPTY_PATH);
		return slot_fill(st, arg->out, tree);
	}
	at = open_in_root(slot_fd(st, arg->root), arg->path, CREATE_NOTHING, 0);
	if (at < 0)
		return at;
	tree = sys_open_tree(at, "", flags | AT_EMPTY_PATH);
	close(at);
	return slot_fill(st, arg->out, tree);
}

/* An id map needs a mount that was never attached, and whoever sets it
 * CAP_SYS_ADMIN over the file system: the host, not the new process. */
int
do_mount_setattr(const struct arg_mount_setattr *arg, struct state *st)
{
	struct mount_attr attr = {
		.attr_set = (uint64_t)arg->set,
		.attr_clr = (uint64_t)arg->clear,
		.propagation = (uint64_t)arg->propagation,
	};

	if (arg->userns >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (__u64)slot_fd(st, arg->userns);
	}
	return sys_mount_setattr(slot_fd(st, arg->tree), "", AT_EMPTY_PATH |
				 (arg->recursive != 0 ? AT_RECURSIVE : 0),
				 &attr);
}

/* One option, "key=value" or a bare flag. */
static int
configure(int fs, const char *option)
{
	char key[64];
	const char *value = strchr(option, '=');
	size_t length;

	if (value == NULL)
		return sys_fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL);
	length = (size_t)(value - option);
	if (length >= sizeof key)
		return -EINVAL;
	memcpy(key, option, length);
	key[length] = '\0';
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value + 1);
}

/* Without room for a directory in workdir, overlayfs mounts read-only, and
 * only the kernel's log knows (ovl_get_workdir). Closes the mount then. */
static int
expect_writable(int mount)
{
	struct statvfs seen;
	int error = fstatvfs(mount, &seen) < 0 ? -errno : mount;

	if (error >= 0 && (seen.f_flag & ST_RDONLY) != 0)
		error = -ENOSPC;
	if (error < 0)
		close(mount);
	return error;
}

static int
make_mount(const char *fstype, const char *source, char *const *options,
	   unsigned attr)
{
	int fs = sys_fsopen(fstype), error = 0;

	if (fs < 0)
		return fs;
	if (*source != '\0')
		error = sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source);
	for (; error >= 0 && *options != NULL; options++)
		error = configure(fs, *options);
	if (error >= 0)
		error = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	if (error >= 0)
		error = sys_fsmount(fs, attr);
	close(fs);
	if (error >= 0 && strcmp(fstype, "overlay") == 0 &&
	    (attr & MOUNT_ATTR_RDONLY) == 0)
		error = expect_writable(error);
	return error;
}

int
do_fsmount(const struct arg_fsmount *arg, struct state *st)
{
	return slot_fill(st, arg->out,
			 make_mount(arg->fstype, arg->mount_source,
				    arg->options, (unsigned)arg->attr));
}

int
do_move_mount(const struct arg_move_mount *arg, struct state *st)
{
	mode_t mode = arg->create == CREATE_DIRECTORY ? 0755 : 0644;
	int error, target;

	if (arg->create < CREATE_NOTHING || arg->create > CREATE_FILE)
		return -EINVAL;
	target = open_in_root(slot_dir(st, arg->root), arg->path,
			      (enum create)arg->create, mode);
	if (target < 0)
		return target;
	error = sys_move_mount(slot_fd(st, arg->tree), target);
	close(target);
	return error;
}

/* Who can replace the null device by a link gets the mask's target bound to
 * the outside (CVE-2025-31133): so it is looked at, not looked up. */
static int
clone_null(int null)
{
	struct stat seen;

	if (fstat(null, &seen) < 0)
		return -errno;
	if (!S_ISCHR(seen.st_mode) || seen.st_rdev != makedev(1, 3))
		return -ENODEV;
	return sys_open_tree(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
}

int
do_mask_path(const struct arg_mask_path *arg, struct state *st)
{
	static char *const NO_OPTIONS[] = { NULL };
	struct stat seen;
	int error, mask, target = open_in_root(slot_dir(st, arg->root),
					       arg->path, CREATE_NOTHING, 0);

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return target;
	if (fstat(target, &seen) < 0)
		mask = -errno;
	else if (S_ISDIR(seen.st_mode))
		mask = make_mount("tmpfs", "", NO_OPTIONS, EMPTY_TMPFS_ATTR);
	else
		mask = clone_null(slot_fd(st, arg->null));
	error = mask < 0 ? mask : sys_move_mount(mask, target);
	if (mask >= 0)
		close(mask);
	close(target);
	return error;
}

/* A copy of the mount, made read-only before it covers the path: there is no
 * moment in which a writer gets in, as with a bind and a remount. */
int
do_readonly_path(const struct arg_readonly_path *arg, struct state *st)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int error, tree, target = open_in_root(slot_dir(st, arg->root),
					       arg->path, CREATE_NOTHING, 0);

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return target;
	tree = sys_open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH |
			     AT_RECURSIVE);
	error = tree;
	if (tree >= 0) {
		error = sys_mount_setattr(tree, "", AT_EMPTY_PATH |
					  AT_RECURSIVE, &attr);
		if (error >= 0)
			error = sys_move_mount(tree, target);
		close(tree);
	}
	close(target);
	return error;
}

/* pivot_root(2), "pivot_root(".", ".")": the old root lies over the new one
 * for a moment, with "." in it, and needs no directory to be put into. */
int
do_pivot_root(const struct arg_pivot_root *arg, struct state *st)
{
	int error = outcome(fchdir(slot_fd(st, arg->root)));

	if (error >= 0)
		error = sys_pivot_root(".", ".");
	if (error >= 0)
		error = sys_umount2(".", MNT_DETACH);
	return error < 0 ? error : outcome(chdir("/"));
}

/* umount2(2): EINVAL where nothing is mounted. */
int
do_umount(const struct arg_umount *arg, UNUSED struct state *st)
{
	if (sys_umount2(arg->path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 &&
	    errno != EINVAL && errno != ENOENT)
		return -errno;
	if (unlink(arg->path) == 0 || errno == ENOENT)
		return 0;
	return errno == EISDIR && rmdir(arg->path) == 0 ? 0 : -errno;
}

int
do_root_propagation(const struct arg_root_propagation *arg,
		    UNUSED struct state *st)
{
	struct mount_attr attr = { .propagation = (uint64_t)arg->propagation };

	return sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr);
}

int
do_unmount(const struct arg_unmount *arg, UNUSED struct state *st)
{
	return sys_umount2(arg->path, (int)arg->flags | UMOUNT_NOFOLLOW);
}

/* A process that waits to be killed, in namespaces of its own. */
static pid_t
clone_sleeper(uint64_t flags)
{
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
	pid_t parent = getpid(), pid = sys_clone3(&args);

	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (;;)
		pause();
}

static int
open_mapped(pid_t pid, const struct arg_open_userns *arg)
{
	char digits[NUMBER_SIZE], path[CHILD_PATH];
	const char *const parts[] = {
		"/proc/", number_text(digits, (uint64_t)pid, 10), NULL
	};
	int dir, error, userns;

	error = text_join(path, sizeof path, parts);
	if (error < 0)
		return error;
	dir = sys_open(path, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir;
	error = write_at(dir, "uid_map", arg->uid_map);
	if (error >= 0)
		error = write_at(dir, "gid_map", arg->gid_map);
	userns = error < 0 ? error : outcome(openat(dir, "ns/user", O_RDONLY |
						    O_CLOEXEC));
	close(dir);
	return userns;
}

/* A user namespace outlives those who were in it as long as it is open. */
int
do_open_userns(const struct arg_open_userns *arg, struct state *st)
{
	pid_t pid = clone_sleeper(CLONE_NEWUSER);
	int userns;

	if (pid < 0)
		return pid;
	userns = open_mapped(pid, arg);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return slot_fill(st, arg->out, userns);
}

/* Attach `tree` in a mount namespace of our own, where nobody else sees it,
 * and copy that into one that belongs to another user namespace: the kernel
 * then locks what that one's root is not to change. Gives a copy of that. Not
 * over "/": who does not see the topmost root has no right to a user
 * namespace. */
static int
sealed_copy(int tree)
{
	static const struct mount_attr private = {
		.propagation = MS_PRIVATE
	};
	struct stat seen;
	const char *at;
	int error, target;

	if (fstat(tree, &seen) < 0)
		return -errno;
	at = S_ISDIR(seen.st_mode) ? "/proc" : "/dev/null";
	error = outcome(unshare(CLONE_NEWNS));
	if (error >= 0)
		error = sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE,
					  &private);
	target = error < 0 ? error : sys_open(at, O_PATH);
	if (target >= 0)
		error = sys_move_mount(tree, target);
	if (target >= 0 && error >= 0 && S_ISDIR(seen.st_mode))
		error = outcome(fchdir(tree));
	if (target < 0 || error < 0)
		return target < 0 ? target : error;
	/* The working directory follows into the copy. */
	error = outcome(unshare(CLONE_NEWUSER | CLONE_NEWNS));
	if (error < 0)
		return error;
	return sys_open_tree(AT_FDCWD, S_ISDIR(seen.st_mode) ? "" : at,
			     OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
}

/* One number, with a descriptor where that is 0. */
static void
post(int sock, int outcome)
{
	int error = outcome < 0 ? outcome : 0;
	char space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = &error, .iov_len = sizeof error };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *header;

	if (outcome >= 0) {
		message.msg_control = space;
		message.msg_controllen = sizeof space;
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &outcome, sizeof outcome);
	}
	(void)!sendmsg(sock, &message, MSG_NOSIGNAL);
}

static int
fetch(int sock)
{
	int error = -EPIPE, fd;
	char space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = &error, .iov_len = sizeof error };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = space, .msg_controllen = sizeof space
	};
	ssize_t size;
	struct cmsghdr *header;

	do
		size = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	header = size == sizeof error ? CMSG_FIRSTHDR(&message) : NULL;
	if (header == NULL)
		return error < 0 ? error : -EPIPE;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

int
do_seal_mount(const struct arg_seal_mount *arg, struct state *st)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	int ends[2], copy;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid = sys_clone3(&args);
	if (pid == 0) {
		close(ends[0]);
		post(ends[1], sealed_copy(slot_fd(st, arg->tree)));
		_exit(0);
	}
	close(ends[1]);
	copy = pid < 0 ? pid : fetch(ends[0]);
	close(ends[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	return slot_fill(st, arg->out, copy);
}
