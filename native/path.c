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

/* Make `name` in the directory `parent`, and open just that: a link that
 * somebody puts in its place, or that dangled there, is ELOOP. */
static int
make(int parent, const char *name, enum create create, mode_t mode)
{
	int fd;

	if (create == CREATE_DIRECTORY) {
		if (mkdirat(parent, name, mode) < 0 && errno != EEXIST)
			return -errno;
	} else {
		fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL |
			    O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (fd >= 0)
			close(fd);
	}
	return sys_openat2(parent, name, O_PATH,
			   RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* Walk down `path`, which is cut at each slash in turn. Every prefix is
 * resolved from the root, so that links in it mean what they mean inside. */
static int
make_path(int root, char *path, enum create create, mode_t mode)
{
	int fd, parent = resolve(root, *path == '/' ? "/" : ".");
	char *part, *end;
	bool last;

	for (part = path; parent >= 0 && *part != '\0'; part = end + !last) {
		end = strchrnul(part, '/');
		last = *end == '\0';
		if (end == part)
			continue;
		*end = '\0';
		fd = resolve(root, path);
		if (fd == -ENOENT)
			fd = make(parent, part, last ? create : CREATE_DIRECTORY,
				  last ? mode : 0755);
		if (!last)
			*end = '/';
		close(parent);
		parent = fd;
	}
	return parent;
}

int
open_in_root(int root, const char *path, enum create create, mode_t mode)
{
	static char cut[PATH_MAX];
	int fd = resolve(root, path);

	if (fd != -ENOENT || create == CREATE_NOTHING)
		return fd;
	if (JOIN(cut, path) < 0)
		return -ENAMETOOLONG;
	return make_path(root, cut, create, mode);
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
