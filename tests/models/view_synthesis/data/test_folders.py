"""Readers of KITTI odometry, ScanNet and RealEstate10K, on small folders made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cnnfast.geometry import axis_angle_to_matrix
from cnnfast.images import ImageError, save_image
from cnnfast.models.view_synthesis.data import KittiOdometry, RealEstate10K, ScanNet, ViewDataError

HEIGHT, WIDTH, FRAMES = 4, 6, 3
K = torch.tensor([[5.0, 0.0, 2.25], [0.0, 5.5, 1.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
# P2 of KITTI is K [I | shift], with the shift in metres.
SHIFT = torch.tensor([0.06, -0.001, 0.003], dtype=torch.float64)


def camera_to_world(frame: int) -> torch.Tensor:
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3] = axis_angle_to_matrix(torch.tensor([0.02, -0.1, 0.05], dtype=torch.float64) * frame)
    motion[:3, 3] = torch.tensor([0.1, -0.05, 0.9], dtype=torch.float64) * frame
    return motion


def words(numbers: torch.Tensor) -> str:
    return " ".join(f"{number:.12e}" for number in numbers.flatten().tolist())


def picture(path: Path, frame: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(torch.full((3, HEIGHT, WIDTH), frame / 10), path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows(matrix: torch.Tensor) -> str:
    return "".join(words(row) + "\n" for row in matrix)


@pytest.fixture
def kitti(tmp_path):
    for sequence in ("00", "01"):
        for frame in range(FRAMES):
            for camera in (0, 2):
                picture(tmp_path / "sequences" / sequence / f"image_{camera}" / f"{frame:06}.png", frame)
        zero = torch.zeros(3, 1, dtype=torch.float64)
        P0, P2 = torch.cat([K, zero], 1), torch.cat([K, K @ SHIFT[:, None]], 1)
        write(tmp_path / "sequences" / sequence / "calib.txt", f"P0: {words(P0)}\nP2: {words(P2)}\nTr: 1 2\n")
    # Sequence 01 is one of those whose poses are not handed out.
    write(tmp_path / "poses" / "00.txt", "".join(words(camera_to_world(f)[:3]) + "\n" for f in range(FRAMES)))
    return tmp_path


@pytest.fixture
def scannet(tmp_path):
    for scene in ("scene0000_00", "scene0001_00"):
        for frame in range(FRAMES):
            picture(tmp_path / scene / "color" / f"{frame}.png", frame)
            write(tmp_path / scene / "pose" / f"{frame}.txt", rows(camera_to_world(frame)))
        intrinsic = torch.eye(4, dtype=torch.float64)
        intrinsic[:3, :3] = K
        write(tmp_path / scene / "intrinsic" / "intrinsic_color.txt", rows(intrinsic))
    return tmp_path


@pytest.fixture
def estate(tmp_path):
    for clip in ("a1", "b2", "gone"):
        lines = ["https://example.org/video"]
        for frame in range(FRAMES):
            parts = torch.tensor([5 / WIDTH, 5.5 / HEIGHT, 2.75 / WIDTH, 2 / HEIGHT, 0, 0], dtype=torch.float64)
            motion = torch.linalg.inv(camera_to_world(frame))[:3]
            lines.append(f"{frame * 33367} {words(parts)} {words(motion)}")
            if clip != "gone":
                picture(tmp_path / "frames" / clip / f"{frame * 33367}.png", frame)
        write(tmp_path / "cameras" / f"{clip}.txt", "\n".join(lines) + "\n")
    return tmp_path


def expected(source: int, target: int, shift: torch.Tensor | None = None) -> torch.Tensor:
    """The motion from one camera to the other, by a different way than the readers': through points."""
    between = torch.linalg.inv(camera_to_world(target)) @ camera_to_world(source)
    if shift is None:
        return between
    side = torch.eye(4, dtype=torch.float64)
    side[:3, 3] = shift
    return side @ between @ torch.linalg.inv(side)


def check(item: dict[str, torch.Tensor], source: int, target: int, shift: torch.Tensor | None = None) -> None:
    motion = expected(source, target, shift)
    torch.testing.assert_close(item["R"].double(), motion[:3, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(item["t"].double(), motion[:3, 3], rtol=0, atol=1e-6)
    for name in ("K_src", "K_tgt"):
        torch.testing.assert_close(item[name].double(), K, rtol=0, atol=1e-6)
    for name, frame in (("source", source), ("target", target)):
        assert item[name].shape == (3, HEIGHT, WIDTH)
        assert item[name].mean().item() == pytest.approx(frame / 10, abs=0.002)


class TestGoodFolders:
    def test_kitti(self, kitti):
        views = KittiOdometry(kitti, offsets=(1, -2))
        assert len(views) == 3
        for item, (source, target) in zip((views[i] for i in range(3)), ((0, 1), (1, 2), (2, 0)), strict=True):
            check(item, source, target, SHIFT)
        check(KittiOdometry(kitti, ["00"], camera=0)[0], 0, 1)

    def test_scannet(self, scannet):
        views = ScanNet(scannet)
        assert len(views) == 4
        check(views[1], 1, 2)
        assert len(ScanNet(scannet, ["scene0001_00"])) == 2

    def test_scannet_leaves_lost_frames_out(self, scannet):
        (scannet / "scene0000_00" / "pose" / "1.txt").write_text("-inf -inf -inf -inf\n" * 4)
        views = ScanNet(scannet, ["scene0000_00"], offsets=(1, 2))
        assert len(views) == 1
        check(views[0], 0, 2)

    def test_realestate(self, estate):
        views = RealEstate10K(estate / "cameras", estate / "frames", offsets=(2,))
        assert len(views) == 2
        check(views[-1], 0, 2)
        (estate / "frames" / "a1" / "0.png").unlink()
        assert len(RealEstate10K(estate / "cameras", estate / "frames", offsets=(2,))) == 1

    def test_other_size(self, kitti):
        """A point of the picture stays where it is, as a part of its sides."""
        item = KittiOdometry(kitti, size=(8, 9))[0]
        assert item["source"].shape == (3, 8, 9)
        assert item["K_src"][0].tolist() == pytest.approx([5 * 1.5, 0, (2.25 + 0.5) * 1.5 - 0.5])
        assert item["K_src"][1].tolist() == pytest.approx([0, 11, (1.5 + 0.5) * 2 - 0.5])


def remove(path: Path) -> None:
    path.unlink()


def binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def empty(path: Path) -> None:
    path.write_text("")


def word(path: Path) -> None:
    path.write_text(path.read_text().replace("e", "x"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = (remove, binary, empty, word, folder)


class TestBadFiles:
    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize("file", ["sequences/00/calib.txt", "poses/00.txt"])
    def test_kitti(self, kitti, file, damage):
        damage(kitti / file)
        with pytest.raises(ViewDataError, match=file):
            KittiOdometry(kitti, ["00"])

    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize("file", ["intrinsic/intrinsic_color.txt", "pose/1.txt"])
    def test_scannet(self, scannet, file, damage):
        damage(scannet / "scene0000_00" / file)
        with pytest.raises(ViewDataError, match=f"scene0000_00/{file}"):
            ScanNet(scannet)

    @pytest.mark.parametrize("damage", [binary, word, folder])
    def test_realestate(self, estate, damage):
        damage(estate / "cameras" / "a1.txt")
        with pytest.raises(ViewDataError, match=r"cameras/a1\.txt"):
            RealEstate10K(estate / "cameras", estate / "frames")

    def test_numbers_that_are_no_camera(self, kitti, estate):
        poses = kitti / "poses" / "00.txt"
        lines = poses.read_text().splitlines()
        for bad in ("1 2 3 4 5 6 7 8 9 10 11 12", "nan " * 12, "-1 0 0 0 0 1 0 0 0 0 1 0"):
            poses.write_text("\n".join([lines[0], bad, lines[2]]))
            with pytest.raises(ViewDataError, match=r"00\.txt: expected .* in line 2, got \["):
                KittiOdometry(kitti)
        poses.write_text("\n".join([lines[0], lines[1] + " 7", lines[2]]))
        with pytest.raises(ViewDataError, match=r"00\.txt: expected 12 numbers in line 2, got 13"):
            KittiOdometry(kitti)
        poses.write_text(lines[0])
        with pytest.raises(ViewDataError, match=r"00\.txt: expected a pose of .*000001\.png, got 1 lines"):
            KittiOdometry(kitti)
        clip = estate / "cameras" / "a1.txt"
        clip.write_text(clip.read_text().replace(" 8.3", " -8.3", 1))
        with pytest.raises(ViewDataError, match=r"a1\.txt: expected intrinsics of a camera in line 2"):
            RealEstate10K(estate / "cameras", estate / "frames")

    def test_missing_projection(self, kitti):
        with pytest.raises(ViewDataError, match=r"calib\.txt: expected a line P1:, got none"):
            KittiOdometry(kitti, camera=1)

    def test_missing_folders(self, kitti, scannet, estate):
        with pytest.raises(ViewDataError, match="nowhere/poses: expected a folder, got nothing"):
            KittiOdometry(kitti / "nowhere")
        with pytest.raises(ViewDataError, match="sequences/77: expected a folder"):
            KittiOdometry(kitti, ["77"])
        with pytest.raises(ViewDataError, match="scene9: expected a folder"):
            ScanNet(scannet, ["scene9"])
        with pytest.raises(ViewDataError, match="frames: expected text files of cameras"):
            RealEstate10K(estate / "frames", estate / "frames")
        (estate / "empty").mkdir()
        with pytest.raises(ViewDataError, match="empty: expected two frames with cameras"):
            RealEstate10K(estate / "cameras", estate / "empty")

    def test_no_pairs(self, kitti):
        with pytest.raises(ViewDataError, match="expected two frames with cameras at the offsets"):
            KittiOdometry(kitti, offsets=(9,))

    def test_bad_picture(self, kitti):
        path = kitti / "sequences" / "00" / "image_2" / "000001.png"
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(ImageError, match=r"000001\.png"):
            KittiOdometry(kitti)[0]


def test_bad_arguments(kitti):
    with pytest.raises(ValueError, match="KittiOdometry: expected camera 0, 1, 2 or 3, got 4"):
        KittiOdometry(kitti, camera=4)
    with pytest.raises(ValueError, match=r"KittiOdometry: expected offsets of frames other than 0.*got \(0,\)"):
        KittiOdometry(kitti, offsets=(0,))
    with pytest.raises(TypeError, match="KittiOdometry: expected offsets a sequence of integers, got 1"):
        KittiOdometry(kitti, offsets=1)
    with pytest.raises(ValueError, match=r"KittiOdometry: expected size \(height, width\) of at least 1 px"):
        KittiOdometry(kitti, size=(4,))
    with pytest.raises(TypeError, match="sequence of names of folders"):
        KittiOdometry(kitti, "00")
    with pytest.raises(IndexError, match="KittiOdometry: expected an index below 2, got 2"):
        KittiOdometry(kitti)[2]
