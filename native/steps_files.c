/* Steps on files and directories. Those with a `dir` run on the host or in
 * directories of ours; those with a `root` expect anything there. */
#define _GNU_SOURCE

#include "launcher.h"

#include <limits.h>
#include <stdio.h>
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

int
write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;
	ssize_t written;

	for (; size > 0; at += written, size -= (size_t)written) {
		written = write(fd, at, size);
		if (written < 0)
			return -errno;
	}
	return 0;
}

/* "/run/x" is first "/run/.x.new": dnsmasq, which reads whatever appears in
 * some directories, passes over what begins with a dot. */
static int
fresh_name(const char *path, char fresh[PATH_MAX])
{
	static char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return -EINVAL;
	if ((size_t)(slash - path) >= sizeof parent - 1)
		return -ENAMETOOLONG;
	memcpy(parent, path, (size_t)(slash - path) + 1);
	parent[slash - path + 1] = '\0';
	return text_join(fresh, PATH_MAX,
			 (const char *const[]){ parent, ".", slash + 1, ".new",
						NULL });
}

/* The mode by fchmod(2): a file that somebody has left half written may be
 * there already, and in the undo steps the umask is not ours. */
int
do_write_file(const struct arg_write_file *arg, UNUSED struct state *st)
{
	static char fresh[PATH_MAX];
	int fd, error = fresh_name(arg->path, fresh);

	if (error < 0)
		return error;
	fd = outcome(open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
			  O_CLOEXEC, 0600));
	if (fd < 0)
		return fd;
	error = outcome(fchmod(fd, (mode_t)arg->mode));
	if (error >= 0)
		error = write_all(fd, arg->data->bytes, arg->data->size);
	close(fd);
	if (error >= 0)
		error = outcome(rename(fresh, arg->path));
	if (error < 0)
		unlink(fresh);
	return error;
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
