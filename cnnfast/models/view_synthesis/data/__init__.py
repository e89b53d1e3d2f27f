"""Pairs of views: synthetic scenes, and folders of KITTI odometry, ScanNet and RealEstate10K."""

from cnnfast.models.view_synthesis.data.base import Frame, ViewDataError, ViewPairs
from cnnfast.models.view_synthesis.data.kitti import KittiOdometry
from cnnfast.models.view_synthesis.data.realestate import RealEstate10K
from cnnfast.models.view_synthesis.data.scannet import ScanNet
from cnnfast.models.view_synthesis.data.synthetic import PlaneScenes

__all__ = ["Frame", "KittiOdometry", "PlaneScenes", "RealEstate10K", "ScanNet", "ViewDataError", "ViewPairs"]
