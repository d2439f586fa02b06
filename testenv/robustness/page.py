"""Sections of docs/robustness.md that scripts write: what stands between `<!-- NAME -->` and `<!-- end of NAME -->`."""
import datetime, os, platform, re, subprocess


class Section:
    def __init__(self, page, name, isobar):
        self.page, self.name, self.blocks = page, name, []
        build = "release" if "release" in isobar else "debug"
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h", "--", ":/Sources"], capture_output=True, text=True, cwd=os.path.dirname(os.path.abspath(__file__)))
        of = f" of {commit.stdout.strip()}" if commit.returncode == 0 and commit.stdout.strip() else ""
        self.line(f"Written on {datetime.date.today()}: {os.cpu_count()} cores, {platform.machine()}, {build} build{of}, everything on this one machine.")

    def line(self, text): self.blocks.append(text)

    def table(self, head, rows):
        lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
        self.blocks.append("\n".join(lines))

    def write(self):
        with open(self.page) as file: text = file.read()
        begin, end = f"<!-- {self.name} -->", f"<!-- end of {self.name} -->"
        if begin not in text or end not in text: raise SystemExit(f"{self.page} has no section {begin} … {end}")
        body = "\n\n".join(self.blocks)
        text = re.sub(re.escape(begin) + ".*" + re.escape(end), lambda _: f"{begin}\n{body}\n{end}", text, flags=re.S)
        with open(self.page, "w") as file: file.write(text)
