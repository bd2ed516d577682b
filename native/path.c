/* Paths inside a root directory that somebody else has filled.
 *
 * A guest's image may hold symbolic links that lead anywhere, and a running
 * guest may change them under our feet (CVE-2015-1335, CVE-2021-30465). So
 * the kernel resolves, with the guest's root as "/", and what it found is used
 * as a descriptor and never by name again. */
#define _GNU_SOURCE

#include "launcher.h"

#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* openat2(2): with a ".." in the path the kernel gives up with EAGAIN where
 * anything in the system was renamed or mounted meanwhile, and leaves it to us
 * to try again. A hundred containers that start at once do that. */
#define RESOLVE_TRIES 128

/* Of a path that is made: parts, and links in them. */
#define PARTS_MAX 256

static int
resolve(int root, const char *path)
{
	uint64_t how = root == AT_FDCWD ? 0
				: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
	int fd, tries = RESOLVE_TRIES;

	do
		fd = sys_openat2(root, *path == '\0' ? "." : path, O_PATH, how);
	while (fd == -EAGAIN && --tries > 0);
	return fd;
}

/* Make `name` in the directory `parent`, and open just that: ELOOP where it is
 * a link, one that dangles or that somebody has put there just now. */
static int
make(int parent, const char *name, enum create create, mode_t mode)
{
	int made;

	if (create == CREATE_DIRECTORY)
		made = outcome(mkdirat(parent, name, mode));
	else
		made = outcome(openat(parent, name, O_WRONLY | O_CREAT |
				      O_EXCL | O_CLOEXEC, mode));
	if (made < 0 && made != -EEXIST)
		return made;
	if (made >= 0 && create == CREATE_FILE)
		close(made);
	return sys_openat2(parent, name, O_PATH,
			   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* The directory up to which `path` exists; *part is what follows. A prefix is
 * resolved from the root, so that links in it mean what they mean inside. */
static int
open_prefix(int root, char *path, char **part)
{
	char *end = path + strlen(path);
	int fd = -ENOENT;

	while (fd == -ENOENT && end > path) {
		while (end > path && *--end != '/')
			continue;
		*part = *end == '/' ? end + 1 : end;
		if (end == path)
			return resolve(root, *path == '/' ? "/" : ".");
		*end = '\0';
		fd = resolve(root, path);
		*end = '/';
	}
	return fd;
}

/* Put what the link `name` says into `path`, in the place of the part that
 * begins there. The target is not there yet: systemd's /etc/resolv.conf. */
static int
follow(int dir, const char *name, char *path, char *part)
{
	static char target[PATH_MAX], whole[PATH_MAX];
	ssize_t size = readlinkat(dir, name, target, sizeof target - 1);
	const char *rest = part + strlen(name);

	if (size < 0)
		return -errno;
	target[size] = '\0';
	*part = '\0';
	if (JOIN(whole, *target == '/' ? "" : path, target, rest) < 0)
		return -ENAMETOOLONG;
	strcpy(path, whole);
	return 0;
}

/* The part that begins here, as a text of its own; true if it is the last. */
static bool
copy_part(const char *part, char *name)
{
	size_t length = strcspn(part, "/");

	memcpy(name, part, length);
	name[length] = '\0';
	return part[length + strspn(part + length, "/")] == '\0';
}

/* Make what is missing of `path`, a part at a time. */
static int
make_path(int root, char *path, enum create create, mode_t mode)
{
	static char name[PATH_MAX];
	bool last, dangled;
	int dir, fd;
	char *part;

	for (int parts = 0; parts < PARTS_MAX; parts++) {
		dir = open_prefix(root, path, &part);
		if (dir < 0)
			return dir;
		last = copy_part(part, name);
		fd = make(dir, name, last ? create : CREATE_DIRECTORY,
			  last ? mode : 0755);
		dangled = fd == -ELOOP && follow(dir, name, path, part) == 0;
		close(dir);
		if (dangled)
			continue;
		if (fd < 0 || last)
			return fd;
		close(fd);
	}
	return -ELOOP;
}

int
open_in_root(int root, const char *path, enum create create, mode_t mode)
{
	static char copy[PATH_MAX];
	int fd = resolve(root, path);

	if (fd != -ENOENT || create == CREATE_NOTHING)
		return fd;
	if (JOIN(copy, path) < 0)
		return -ENAMETOOLONG;
	return make_path(root, copy, create, mode);
}

int
open_procfs(int proc, const char *path)
{
	struct statfs seen;
	int fd = sys_openat2(proc, path, O_WRONLY,
			     RESOLVE_BENEATH | RESOLVE_NO_XDEV |
			     RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &seen) == 0 && seen.f_type == PROC_SUPER_MAGIC)
		return fd;
	close(fd);
	return -EXDEV;
}
