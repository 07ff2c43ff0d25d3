"""A real Rails application as `rails generate scaffold` makes it, with the simulator's own records. HOSP is one.

Made of Debian's ruby-rails, puma, ruby-jbuilder and ruby-sqlite3; nothing is downloaded, so bundler is left out.
What is changed in the generated code is what HOSP is known to have: Basic authentication, newest first, the filter of
notes, `/staffs/me`, screening, and no password in an answer.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

from compose.hosp.data import Data

NEEDED = ("rails", "puma")
PACKAGES = "ruby-rails puma ruby-jbuilder ruby-sqlite3"
MODELS = {
    "hospital": "name:string",
    "staff": "name:string hospital:references password:string",
    "patient": "name:string hospital:references birthdate:date",
    "note": "title:string body:text patient:references staff:references",
}
PRESENT = {"hospital": ":name", "staff": ":name", "patient": ":name", "note": ":title"}
APPLICATION_CONTROLLER = """
class ApplicationController < ActionController::Base
  protect_from_forgery with: :null_session
  before_action :authenticate
  private
  def authenticate
    authenticate_or_request_with_http_basic do |name, password|
      @me = Staff.find_by(name: name, password: password)
    end
  end
end
"""
PAGES_CONTROLLER = """
class PagesController < ApplicationController
  skip_before_action :authenticate
  def home
    render html: "<!DOCTYPE html><html><body><h1>MedicalSystem</h1><p>Server is online.</p></body></html>".html_safe
  end
end
"""
SCREEN = """
  def screen
    Patient.find(params[:id])
    results = params.require(:images).map { |image| Digest::SHA256.digest(image).bytes[0] % 5 == 0 }
    words = results.map { |found| found ? "abnormal" : "normal" }
    render json: { overall: results.any? ? "abnormal" : "normal", results: words }
  end
"""
ME = """
  def me
    @staff = @me
    render :show
  end
"""
ROUTES = """
Rails.application.routes.draw do
  root "pages#home"
  resources :hospitals, :notes
  resources(:staffs) { get :me, on: :collection }
  resources(:patients) { post :screen, on: :member }
end
"""


def require_rails() -> None:
    """Skips where Rails is not installed; with UNDERSTUDY_TESTS=all that is a failure."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing and os.environ.get("UNDERSTUDY_TESTS") == "all":
        pytest.fail(f"{' and '.join(missing)} not on PATH: apt-get install {PACKAGES}")
    if missing:
        pytest.skip(f"{' and '.join(missing)} not on PATH: apt-get install {PACKAGES}")


def generate_app(folder: Path, data: Data) -> None:
    """Writes the application below `folder` and its database with `data`. Raises CalledProcessError."""
    _run(
        folder.parent, "rails", "new", folder.name, "--minimal", "--skip-bundle", "--skip-git", "--skip-test",
        "--skip-javascript", "--skip-spring", "--skip-sprockets", "-q",
    )  # fmt: skip
    (folder / "Gemfile").unlink()
    (folder / "config/boot.rb").write_text("")
    _edit(folder / "config/application.rb", "Bundler.require(*Rails.groups)", 'require "jbuilder"\nrequire "digest"')
    for model, fields in MODELS.items():
        _run(folder, "bin/rails", "generate", "scaffold", model, *fields.split(), "-q")
        source = folder / f"app/models/{model}.rb"
        _edit(source, "\nend", f"\n  validates {PRESENT[model]}, presence: true\nend")
        _edit(folder / f"app/controllers/{model}s_controller.rb", ".all", ".order(id: :desc)")
    (folder / "app/controllers/application_controller.rb").write_text(APPLICATION_CONTROLLER)
    (folder / "app/controllers/pages_controller.rb").write_text(PAGES_CONTROLLER)
    (folder / "config/routes.rb").write_text(ROUTES)
    _edit(folder / "app/controllers/patients_controller.rb", "\n  private", SCREEN + "\n  private")
    _edit(folder / "app/controllers/staffs_controller.rb", "\n  private", ME + "\n  private")
    filtered = (
        ".order(id: :desc)\n    @notes = @notes.where(patient_id: params[:patient_id]) if params[:patient_id].present?"
    )
    _edit(folder / "app/controllers/notes_controller.rb", ".order(id: :desc)", filtered)
    _edit(folder / "app/views/staffs/_staff.json.jbuilder", ", :password", "")
    _run(folder, "bin/rails", "db:migrate")
    _fill(folder / "db/production.sqlite3", data)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        raise AssertionError(f"{path} has no {old!r}: another Rails?")
    path.write_text(text.replace(old, new, 1))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BUNDLE", "RUBY", "GEM"))}
    return {**kept, "RAILS_ENV": "production", "SECRET_KEY_BASE": "0" * 64, "LANG": "C.UTF-8"}


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, env=_environment(), check=True, capture_output=True, timeout=120)


def _fill(database: Path, data: Data) -> None:
    """The simulator's records under the same ids: questions to both have the same answer."""
    connection = sqlite3.connect(database)
    with connection:
        for table, rows in data.tables.items():
            for row in rows.values():
                kept = {k: _time(v) if k.endswith("_at") else v for k, v in row.items()}
                if table == "staffs":
                    kept["password"] = data.passwords[row["name"]]
                names, marks = ", ".join(kept), ", ".join("?" * len(kept))
                connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(kept.values()))
    connection.close()


def _time(stamp: str) -> str:
    return stamp.replace("T", " ").replace("Z", "000")


class RailsApp:
    """Puma with the application on loopback, while it is open. `stop` is an outage, `start` its end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        command = ["puma", "-C", "-", "-q", "-t", "5:5", "-b", f"tcp://127.0.0.1:{self.port}", "config.ru"]
        with (self.folder / "log/puma.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=_environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 60
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"puma did not start: {(self.folder / 'log/puma.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def signal(self, number: int) -> None:
        """To the server, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def rows(self, table: str) -> list[tuple[object, ...]]:
        """What its database holds."""
        return self.select(f"* FROM {table} ORDER BY id")

    def select(self, what: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(self.folder / "db/production.sqlite3")
        try:
            return connection.execute(f"SELECT {what}").fetchall()
        finally:
            connection.close()

    def __enter__(self) -> RailsApp:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
