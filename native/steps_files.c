/* Steps on files and directories. Those with a `dir` run on the host or in
 * directories of ours; those with a `root` expect anything there. */
#define _GNU_SOURCE

#include "launcher.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* mkdirat(2). A slot is a root: the path in it is the guest's. */
int
do_mkdir(const struct arg_mkdir *arg, struct state *st)
{
	int fd;

	if (arg->dir < 0) {
		if (mkdir(arg->path, (mode_t)arg->mode) < 0 && errno != EEXIST)
			return -errno;
		return 0;
	}
	fd = open_in_root(slot_fd(st, arg->dir), arg->path, CREATE_DIRECTORY,
			  (mode_t)arg->mode);
	return fd < 0 ? fd : close(fd);
}

/* Files of the kernel take a value in one write(2) or not at all. */
static int
write_and_close(int fd, const char *data)
{
	size_t size = strlen(data);
	ssize_t written = write(fd, data, size);
	int error = outcome(written);

	close(fd);
	return error < 0 || (size_t)written == size ? error : -EIO;
}

int
write_at(int dir, const char *path, const char *data)
{
	int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : write_and_close(fd, data);
}

int
do_write(const struct arg_write *arg, struct state *st)
{
	return write_at(slot_dir(st, arg->dir), arg->path, arg->data);
}

int
do_write_child(const struct arg_write_child *arg, struct state *st)
{
	char path[CHILD_PATH];
	int error = child_path(st, "/", arg->name, path);

	return error < 0 ? error : write_at(AT_FDCWD, path, arg->data);
}

/* fchownat(2). */
int
do_chown(const struct arg_chown *arg, struct state *st)
{
	int flags = AT_SYMLINK_NOFOLLOW |
		    (*arg->path == '\0' ? AT_EMPTY_PATH : 0);

	if (fchownat(slot_dir(st, arg->dir), arg->path, (uid_t)arg->uid,
		     (gid_t)arg->gid, flags) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int
do_open(const struct arg_open *arg, struct state *st)
{
	int fd = openat(slot_dir(st, arg->dir), arg->path,
			(int)arg->flags | O_CLOEXEC, (mode_t)arg->mode);

	return slot_fill(st, arg->out, outcome(fd));
}

/* symlinkat(2), in a directory that is made where it is missing. */
int
do_symlink(const struct arg_symlink *arg, struct state *st)
{
	static char parent[PATH_MAX];
	char *name;
	int dir, error;

	if (JOIN(parent, arg->path) < 0)
		return -ENAMETOOLONG;
	name = strrchr(parent, '/');
	if (name != NULL)
		*name = '\0';
	dir = open_in_root(slot_dir(st, arg->root),
			   name == parent ? "/" : name != NULL ? parent : ".",
			   CREATE_DIRECTORY, 0755);
	if (dir < 0)
		return dir;
	error = outcome(symlinkat(arg->target, dir,
				  name != NULL ? name + 1 : parent));
	close(dir);
	return error == -EEXIST ? 0 : error;
}

int
do_unlink(const struct arg_unlink *arg, UNUSED struct state *st)
{
	return unlink(arg->path) < 0 && errno != ENOENT ? -errno : 0;
}

int
do_rmdir(const struct arg_rmdir *arg, UNUSED struct state *st)
{
	return rmdir(arg->path) < 0 && errno != ENOENT ? -errno : 0;
}

int
do_fchdir(const struct arg_fchdir *arg, struct state *st)
{
	return outcome(fchdir(slot_fd(st, arg->dir)));
}

/* chdir(2). A directory outside the root, reached through a descriptor that
 * leaked, has a name that begins with "(unreachable)" (CVE-2024-21626). The
 * system call itself: libc's getcwd(3) hides that. */
int
do_chdir(const struct arg_chdir *arg, UNUSED struct state *st)
{
	static char cwd[PATH_MAX];

	if (chdir(arg->path) < 0 ||
	    syscall(SYS_getcwd, cwd, sizeof cwd) < 0)
		return -errno;
	return *cwd == '/' ? 0 : -EXDEV;
}

/* openat2(2) into a procfs that this very plan has mounted. A write that lands
 * elsewhere is how CVE-2025-52881 worked: no link, no mount, nothing but
 * procfs on the way. */
int
do_sysctl(const struct arg_sysctl *arg, struct state *st)
{
	char path[256];
	int fd;

	if (JOIN(path, "sys/", arg->key) < 0)
		return -ENAMETOOLONG;
	fd = open_procfs(slot_fd(st, arg->proc), path);
	return fd < 0 ? fd : write_and_close(fd, arg->value);
}
