/* System calls that not every libc wraps, each returning -errno like the
 * kernel itself, and the constants that older headers lack.
 *
 * <sys/mount.h> is left out on purpose: since glibc 2.36 it defines the types
 * of <linux/mount.h> once more. */
#ifndef CLOISON_SYS_H
#define CLOISON_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef UMOUNT_NOFOLLOW
#define UMOUNT_NOFOLLOW 8
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* libc's -1 and errno as one value. */
static inline int
outcome(long returned)
{
	return returned < 0 ? -errno : (int)returned;
}

/* open(2), of what exists. Through openat(2), because musl's open(3) sets
 * close-on-exec a second time, for the sake of kernels before 2.6.23. */
static inline int
sys_open(const char *path, int flags)
{
	return outcome(openat(AT_FDCWD, path, flags | O_CLOEXEC));
}

/* openat2(2), since Linux 5.6. */
static inline int
sys_openat2(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = resolve };

	return outcome(syscall(SYS_openat2, dir, path, &how, sizeof how));
}

/* open_tree(2), since Linux 5.2. */
static inline int
sys_open_tree(int dir, const char *path, unsigned flags)
{
	return outcome(syscall(SYS_open_tree, dir, path,
			       flags | OPEN_TREE_CLOEXEC));
}

/* move_mount(2), since Linux 5.2: here always from descriptor to descriptor,
 * so that no path is resolved a second time. */
static inline int
sys_move_mount(int tree, int target)
{
	return outcome(syscall(SYS_move_mount, tree, "", target, "",
			       MOVE_MOUNT_F_EMPTY_PATH |
			       MOVE_MOUNT_T_EMPTY_PATH));
}

/* mount_setattr(2), since Linux 5.12. */
static inline int
sys_mount_setattr(int dir, const char *path, unsigned flags,
		  const struct mount_attr *attr)
{
	return outcome(syscall(SYS_mount_setattr, dir, path, flags, attr,
			       sizeof *attr));
}

/* fsopen(2), fsconfig(2), fsmount(2), since Linux 5.2. */
static inline int
sys_fsopen(const char *fstype)
{
	return outcome(syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC));
}

static inline int
sys_fsconfig(int fs, unsigned command, const char *key, const char *value)
{
	return outcome(syscall(SYS_fsconfig, fs, command, key, value, 0));
}

static inline int
sys_fsmount(int fs, unsigned attr)
{
	return outcome(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr));
}

/* pivot_root(2) and umount2(2). */
static inline int
sys_pivot_root(const char *new_root, const char *put_old)
{
	return outcome(syscall(SYS_pivot_root, new_root, put_old));
}

static inline int
sys_umount2(const char *path, int flags)
{
	return outcome(syscall(SYS_umount2, path, flags));
}

/* clone3(2), since Linux 5.3. Without a stack of its own the new process
 * goes on in a copy of this one, as after fork(2). */
static inline int
sys_clone3(const struct clone_args *args)
{
	return outcome(syscall(SYS_clone3, args, sizeof *args));
}

/* pidfd_open(2) and pidfd_send_signal(2), since Linux 5.3 and 5.1. */
static inline int
sys_pidfd_open(pid_t pid)
{
	return outcome(syscall(SYS_pidfd_open, pid, 0));
}

static inline int
sys_pidfd_send_signal(int pidfd, int signo)
{
	return outcome(syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0));
}

/* close_range(2), since Linux 5.9; CLOSE_RANGE_CLOEXEC since 5.11. */
static inline int
sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return outcome(syscall(SYS_close_range, first, last, flags));
}

#endif
