#!/bin/sh
# Print the path of a Python that AgentOS runs on: 3.13 if there is one, else 3.12 or newer; say plainly when there is none.
usable() {
	"$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1
}

seen=""
for name in "$PYTHON" python3.13 python3.14 python3.12 python3 python "$HOME"/.pyenv/versions/3.1[234]*/bin/python; do
	[ -n "$name" ] && found=$(command -v "$name" 2>/dev/null) || continue
	if usable "$found"; then
		echo "$found"
		exit 0
	fi
	case $seen in *"($found)"*) continue ;; esac
	version=$("$found" --version 2>/dev/null) && seen="$seen, $version ($found)"
done
echo "AgentOS needs Python 3.12 or newer, best 3.13; found ${seen:-, none}. Install it, or name it: PYTHON=/path/to/python3.13 make run" | sed 's/found , /found /' >&2
exit 1
